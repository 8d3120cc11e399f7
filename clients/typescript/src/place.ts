/**
 * The right to hold a connection open: of a browser's pages that share its six to a gateway, one has it, the one
 * that came to the front last, and the others poll. Where there are no locks, as in Node.js and in pages without
 * TLS, each has it.
 */
export class Place {
  isMine = false;
  #free = () => {};
  #isFirst = true; // of all that want it: goes before the one that has it
  #left = new AbortController();
  #name: string;
  #changed: () => void;
  #locks?: LockManager;

  /**
   * @param base of the gateway
   * @param changed called when another page has it now, or this one may take it
   */
  constructor(base: string, changed: () => void) {
    const { document, navigator, location } = globalThis;
    this.#name = `reelgate ${base}`;
    this.#changed = changed;
    this.#locks = location && navigator?.locks;
    this.#isFirst = document?.hidden === false;
    const seen = () => {
      this.#isFirst = !document.hidden;
      if (this.#isFirst && !this.isMine) changed();
    };
    document?.addEventListener("visibilitychange", seen, { signal: this.#left.signal });
  }

  /** Takes it, where it is free or this page is in front. */
  async take(): Promise<void> {
    if (this.isMine) return;
    const options = this.#isFirst ? { steal: true } : { ifAvailable: true };
    this.#isFirst = false;
    await new Promise<void>((asked) => {
      const hold = (lock: unknown) => {
        this.isMine = Boolean(lock);
        asked();
        return lock && new Promise<void>((free) => (this.#free = free));
      };
      const lost = (error: any) => {
        this.isMine = error?.name !== "AbortError"; // but for this, locks cannot be used here
        asked();
        this.#changed();
      };
      if (this.#locks) this.#locks.request(this.#name, options, hold).catch(lost);
      else hold(true);
    });
  }

  leave(): void {
    this.#left.abort();
    this.#free();
  }
}
