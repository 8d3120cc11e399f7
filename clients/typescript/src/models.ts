// Written from the catalogue by `make clients-js`. Change nothing here.

/** The input and output of the models that this gateway comes with. `npx reelgate types` writes those of yours. */
export interface Models {
  /** Dreamina 3.0 */
  "bytedance/dreamina-3-0/image-to-video": {
    input: {
      /** Upload JPEG/PNG format At most 1. */
      image_urls: string[];
      /** At most 800 characters. */
      prompt: string;
      /** Total frames of the generated video. Supported values: 121 (≈5s) and 241 (≈10s). Default: `121`. */
      number_of_frames?: 121 | 241;
      /** Default: `"720P"`. */
      resolution?: "720P" | "1080P";
      /** Default: `-1`. */
      seed?: number;
    };
    output: {
      /** single image URL */
      image?: string;
      /** single video URL */
      video?: string;
      /** multiple image URLs */
      images?: string[];
      /** multiple video URLs */
      videos?: string[];
    };
  };
}
