// Built by `make clients-js` from clients/typescript/src/files.ts. Change nothing here.
/** Files of the visitor's own as data: URIs, made to fit into a request together; and outputs, fetched whole. */
/** How many bytes of files a request holds: its body has 256 KiB, base64 and all. */
export declare const ROOM: number;
export interface FitOptions {
  /** The most bytes that it may have. Default: what a request holds. */
  most?: number;
  /** The accepted media types, such as those of `media_inputs` of the model; empty: all of the kind. */
  types?: readonly string[];
  /** `image` by default: pictures are made smaller where need be. Others have to fit as they are. */
  kind?: "image" | "video" | "audio" | "any";
}
/** A file as part of an input. */
export interface Fitted {
  /** The data: URI. */
  value: string;
  /** Its size in bytes, as a file. */
  size: number;
  /** What was changed, if anything was: the picture is then a JPEG of `width` and `height`. */
  made?: {
    why: "smaller" | "jpeg";
    width: number;
    height: number;
    from: {
      width: number;
      height: number;
    };
  };
}
/** A file that cannot go into a request. `reason` says why, for programs. */
export declare class FileError extends Error {
  readonly reason: "type" | "size" | "unreadable";
  readonly name = "FileError";
  constructor(reason: "type" | "size" | "unreadable", message: string, options?: ErrorOptions);
}
/**
 * The file by value. A picture that has too many bytes, or another type than the model takes, becomes a smaller JPEG,
 * which takes a browser; everything else that does not fit is a {@link FileError}.
 */
export declare function fit(file: Blob, options?: FitOptions): Promise<Fitted>;
/** Several files that share the room of a request: what small ones leave over is for the others. In the order given. */
export declare function fitAll(files: readonly Blob[], options?: FitOptions): Promise<Fitted[]>;
export interface DownloadOptions {
  signal?: AbortSignal;
  /** A replacement for the global fetch. */
  fetch?: typeof fetch;
  /** Told of every piece: bytes that are here, and bytes in all where the server says. */
  onProgress?: (bytes: number, total?: number) => void;
  /** The SHA-256 that the file has to have, in hexadecimal. */
  sha256?: string;
}
/** What was fetched is not the whole file, or another one. */
export declare class DownloadError extends Error {
  readonly name = "DownloadError";
}
/**
 * A file of an output, whole: a connection that breaks is taken up where it broke, and length and hash are checked.
 * Into a file of Node.js: `await writeFile("a.mp4", (await download(url)).stream())`.
 */
export declare function download(url: string | URL, options?: DownloadOptions): Promise<Blob>;
