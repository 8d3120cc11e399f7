/** What the pages use of `vendor.js` (Preact, its hooks, htm and uPlot), as far as they use it. */

type Node = unknown;
type Inputs = readonly unknown[];

export function html(parts: TemplateStringsArray, ...values: unknown[]): Node;
export function render(node: Node, into: Element | null): void;
export function h(type: unknown, props: unknown, ...children: Node[]): Node;
export const Fragment: unknown;

export interface Context<T> {
  Provider: unknown;
  readonly value?: T;
}
export function createContext<T = any>(usual: T): Context<T>;
export function useContext<T>(of: Context<T>): any;

export function useState<T = any>(first: T | (() => T)): [any, (next: any) => void];
export function useRef<T = any>(first: T): { current: any };
export function useMemo<T>(make: () => T, inputs: Inputs): T;
export function useCallback<T>(work: T, inputs: Inputs): T;
export function useEffect(work: () => void | (() => void), inputs?: Inputs): void;
export function useLayoutEffect(work: () => void | (() => void), inputs?: Inputs): void;

export class uPlot {
  constructor(options: object, data: unknown[], into: Element);
  static paths: { bars(options: object): unknown };
  destroy(): void;
  setSize(size: { width: number; height: number }): void;
}
