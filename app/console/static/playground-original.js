// A file of the visitor's own that is too large for a request: uploaded as it is, if the visitor wants that.

import { announce, bytes, el } from "./playground-kit.js";

const OFFER = "Upload the original";

/** A button that uploads the file and tells how far it has come; pressed again meanwhile, it stops. */
export class Original {
  #upload;
  #place;
  /** @type {File | null} */
  #file = null;
  /** @type {AbortController | null} */
  #leaving = null;

  /** `place` has: line and told, for words, and done(reference). */
  constructor(upload, place) {
    this.#upload = upload;
    this.#place = place;
    this.button = el("button", { type: "button", class: "button ghost", hidden: true, text: OFFER });
    this.button.addEventListener("click", () => this.#press());
  }

  /** Offers a file, or none. */
  offer(file) {
    if (file !== this.#file) this.leave();
    this.#file = file;
    this.button.hidden = file === null;
  }

  /** Another file, or none, is in the place now. */
  leave() {
    this.#leaving?.abort();
    this.#file = null;
    this.button.hidden = true;
  }

  async #press() {
    if (this.#leaving) return this.#leaving.abort();
    const file = this.#file;
    const leaving = new AbortController();
    const { line, told, done } = this.#place;
    this.#leaving = leaving;
    this.button.textContent = "Stop";
    const onProgress = (sent, of) => {
      line.textContent = `Sending it: ${Math.floor((100 * sent) / of)} % of ${bytes(of)}`;
    };
    let said = "The upload was stopped.";
    try {
      const { reference } = await this.#upload(file, { onProgress, signal: leaving.signal });
      this.#leaving = null;
      said = `${file?.name} was uploaded as it is.`;
      done(reference);
    } catch (error) {
      if (!leaving.signal.aborted) said = `It was not uploaded. ${error.detail ?? error.message}`;
    }
    if (this.#leaving === leaving) this.#leaving = null;
    this.button.textContent = OFFER;
    line.textContent = "";
    told.textContent = said;
    told.hidden = false;
    announce(said);
  }
}
