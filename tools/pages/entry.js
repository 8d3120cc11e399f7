// What the console and the portal use of others: Preact with its hooks, htm, uPlot.
export { h, render, Fragment, createContext } from "preact";
export { useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback, useContext } from "preact/hooks";
export { html } from "htm/preact";
export { default as uPlot } from "uplot";
