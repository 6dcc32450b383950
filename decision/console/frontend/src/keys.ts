// Keys: "/" goes to the search, "?" lists the keys, "g" and a letter goes to a page.

const TYPED = "input, select, textarea, [contenteditable], nb-editor";
const PATIENCE_MS = 1500;

export function watchKeys(): void {
  let wentAt = 0;
  const dialog = document.querySelector<HTMLDialogElement>("#keys");
  const show = () => dialog?.showModal();

  const button = document.querySelector<HTMLButtonElement>("[data-keys]");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", show);
  }

  document.addEventListener("keydown", (event) => {
    const target = event.composedPath()[0];
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (target instanceof Element && target.closest(TYPED)) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.timeStamp - wentAt < PATIENCE_MS && wentAt > 0) {
      wentAt = 0;
      const link = document.querySelector<HTMLAnchorElement>(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) {
        event.preventDefault();
        link.click();
      }
      return;
    }
    if (event.key === "g") wentAt = event.timeStamp;
    else if (event.key === "?") show();
    else if (event.key === "/") {
      const search = document.querySelector<HTMLElement>('[data-key="/"]');
      if (search) {
        event.preventDefault();
        search.focus();
      }
    }
  });
}
