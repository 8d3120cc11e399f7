/** A fetch for uploads: XMLHttpRequest, unlike fetch, tells how much of a body has left. */
export function sending(onProgress: (sent: number, of: number) => void) {
  return (url: string, { method, headers, body, signal }: RequestInit) =>
    new Promise<Response>((resolve, reject) => {
      const call = new XMLHttpRequest();
      call.open(method!, url);
      (headers as Headers).forEach((value, name) => call.setRequestHeader(name, value));
      call.upload.onprogress = ({ loaded, total }) => onProgress(loaded, total);
      call.onload = () => {
        const pairs = call.getAllResponseHeaders().trim().split("\r\n").map((line) => line.split(": ", 2));
        resolve(new Response(call.response, { status: call.status, headers: pairs as [string, string][] }));
      };
      call.onerror = () => reject(new TypeError("The network failed."));
      call.onabort = () => reject(signal!.reason);
      signal!.addEventListener("abort", () => call.abort());
      call.send(body as Blob);
    });
}
