// What htmx's requests have to say beside their answer: errors of the server come as parts of pages
// into #notices; that it does not answer at all is said here.

export function watchRequests(): void {
  const notices = () => document.querySelector<HTMLElement>("#notices");

  document.addEventListener("htmx:before:request", () => notices()?.replaceChildren());

  // A part that came, or does not come, is not awaited any more: `hx-swap=innerHTML` leaves the
  // element that asked as it is.
  document.addEventListener("htmx:finally:request", (event) => {
    const { ctx } = (event as CustomEvent<{ ctx?: { sourceElement?: Element } }>).detail;
    ctx?.sourceElement?.removeAttribute("aria-busy");
  });

  document.addEventListener("htmx:error", (event) => {
    const { ctx } = (event as CustomEvent<{ ctx?: unknown }>).detail;
    const place = notices();
    if (!ctx || !place) return; // not about a request
    const notice = document.createElement("div");
    notice.className = "notice bad";
    const text = document.createElement("p");
    text.textContent = place.dataset["unreachable"] ?? "";
    notice.append(text);
    place.replaceChildren(notice);
  });
}
