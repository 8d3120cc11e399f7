/** Hooks for React 18 and 19. They need no provider: make one `Reelgate` for the page, outside any component. */

import { useCallback, useEffect, useState, useSyncExternalStore } from "react";
import type { Reelgate } from "./client.js";
import type { Quota } from "./documents.js";
import { Generation, type GenerationState } from "./generation.js";
import type { InputOf, ModelId, ModelMap, OutputOf, Result } from "./types.js";

export type { GenerationState } from "./generation.js";

export interface GenerationOptions {
  /**
   * A name for this generation in the tab's `sessionStorage`: a page that is loaded again goes on with the job,
   * also if it was left while submitting. Without a name nothing is kept.
   */
  resume?: string;
}

export interface UseGeneration<Input, Output> extends GenerationState<Output> {
  isRunning: boolean;
  /**
   * Call it in a handler, not in an effect. It never rejects: what went wrong is the `error`. While a run is under
   * way, this is that run.
   */
  run: (input: Input) => Promise<Result<Output> | undefined>;
  /** Cancels the job, if it has not started. */
  cancel: () => Promise<void>;
  /** Forgets the generation; a job that is under way goes on unseen. */
  reset: () => void;
}

/** One generation at a time: submitted by `run`, followed while the component is there, and taken up after a reload. */
export function useGeneration<M extends ModelMap<M>, const Id extends ModelId<M>>(
  gate: Reelgate<M>,
  model: Id,
  { resume }: GenerationOptions = {},
): UseGeneration<InputOf<M, Id>, OutputOf<M, Id>> {
  const [held, setHeld] = useState(() => new Generation(gate, model, resume));
  let generation = held;
  if (held.gate !== gate || held.model !== model || held.resume !== resume) {
    generation = new Generation(gate, model, resume);
    setHeld(generation);
  }
  useEffect(generation.enter, [generation]);
  const state = useSyncExternalStore(generation.subscribe, generation.snapshot, generation.snapshotOfServer);
  const { run, cancel, reset } = generation;
  const isRunning = state.phase === "submitting" || state.phase === "running";
  return { ...state, isRunning, run: run as (input: InputOf<M, Id>) => Promise<Result | undefined>, cancel, reset };
}

export interface UseQuota {
  quota?: Quota;
  error?: unknown;
  isLoading: boolean;
  /** Reads it anew, for example when a generation has ended. */
  refresh: () => void;
}

/** The caller's limits and their usage. */
export function useQuota(gate: Reelgate<any>): UseQuota {
  const [state, setState] = useState<Omit<UseQuota, "refresh">>({ isLoading: true });
  const [round, setRound] = useState(0);
  useEffect(() => {
    const left = new AbortController();
    setState((before) => ({ ...before, isLoading: true }));
    gate.quota({ signal: left.signal }).then(
      (quota) => setState({ quota, isLoading: false }),
      (error) => left.signal.aborted || setState((before) => ({ ...before, error, isLoading: false })),
    );
    return () => left.abort();
  }, [gate, round]);
  return { ...state, refresh: useCallback(() => setRound((before) => before + 1), []) };
}
