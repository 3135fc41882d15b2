/* A page that was opened from a file may start no web worker, and the search runs in one. Here a hidden frame stands in
   for it: the script runs in the frame, and messages go to and fro as they would with a worker. Material for MkDocs
   looks for the name IFrameWorker. On a server nothing is changed. */
if (location.protocol === "file:") {
  window.IFrameWorker = window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.appendChild(this.frame);
      const inside = this.frame.contentWindow;
      window.addEventListener("message", (event) => {
        if (event.source === inside) this.dispatchEvent(new MessageEvent("message", { data: event.data }));
      });
      this.ready = new Promise((loaded) => (this.frame.loaded_ = loaded));
      inside.document.open();
      inside.document.write(`<!doctype html><html><body><script>
        postMessage = (data) => parent.postMessage(data, "*");
        importScripts = (...urls) =>
          urls.reduce(
            (before, url) =>
              before.then(
                () =>
                  new Promise((done) => {
                    const script = document.createElement("script");
                    script.src = url;
                    script.onload = done;
                    document.body.appendChild(script);
                  }),
              ),
            Promise.resolve(),
          );
        <\/script><script src="${url}" onload="frameElement.loaded_()"><\/script></body></html>`);
      inside.document.close();
    }
    postMessage(data) {
      const inside = this.frame.contentWindow;
      this.ready.then(() => inside.dispatchEvent(new MessageEvent("message", { data })));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
