// Search in a site that was opened from a disk: browsers start no worker for file: addresses, so the search's own script
// runs in a hidden frame that answers as a worker does. Over HTTP nothing here is used.
if (window.location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super();
      this.waiting = [];
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      const program = new URL(address, window.location.href);
      const load = (place) =>
        new Promise((done, failed) => {
          const script = inside.document.createElement("script");
          script.src = new URL(place, program).href;
          script.onload = done;
          script.onerror = failed;
          inside.document.body.append(script);
        });
      // The worker's script posts to its owner and loads language packs through these two names.
      inside.postMessage = (data) => {
        const event = new MessageEvent("message", { data });
        this.dispatchEvent(event);
        if (typeof this.onmessage === "function") this.onmessage(event);
      };
      inside.importScripts = async (...places) => {
        for (const place of places) await load(place);
      };
      load(program).then(() => {
        this.started = true;
        for (const data of this.waiting.splice(0)) this.deliver(data);
      });
    }

    deliver(data) {
      const inside = this.frame.contentWindow;
      inside.dispatchEvent(new inside.MessageEvent("message", { data }));
    }

    postMessage(data) {
      if (this.started) this.deliver(data);
      else this.waiting.push(data);
    }

    terminate() {
      this.frame.remove();
    }
  };
}
