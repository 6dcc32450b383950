// Who leaves a page, or has a part of it exchanged, is warned of text that was not sent. It is about
// forms that change something and have a text of several lines, such as the editor, or one that is
// needed, such as the reason of a pause.

type Field = HTMLInputElement | HTMLTextAreaElement;

interface Exchange {
  sourceElement?: Element;
  target?: Element;
  response?: { status: number };
}

const FORMS = "form[method=post]:has(textarea, input[required]:not([type=password]))";
const FIELDS = "input:not([type=hidden]), textarea";

export function watchUnsaved(): void {
  let leaving: HTMLFormElement | undefined; // what it has is being sent
  const sent = new WeakMap<HTMLFormElement, Map<Field, string>>();

  const fields = (form: HTMLFormElement) => [...form.querySelectorAll<Field>(FIELDS)];
  const unsaved = () =>
    [...document.querySelectorAll<HTMLFormElement>(FORMS)].filter(
      (form) => form !== leaving && fields(form).some((field) => field.value !== field.defaultValue),
    );
  const formOf = (source: Element | undefined) => source?.closest("form") ?? undefined;
  const exchange = (event: Event) => (event as CustomEvent<{ ctx?: Exchange }>).detail.ctx ?? {};

  window.addEventListener("beforeunload", (event) => {
    if (unsaved().length > 0) event.preventDefault();
  });

  document.addEventListener("submit", (event) => {
    if (!event.defaultPrevented) leaving = event.target as HTMLFormElement;
  });
  window.addEventListener("pageshow", () => (leaving = undefined));

  document.addEventListener("htmx:before:request", (event) => {
    const { sourceElement, target } = exchange(event);
    const own = formOf(sourceElement);
    const lost = unsaved().filter((form) => form !== own && target?.contains(form));
    const question = document.querySelector<HTMLElement>("#notices")?.dataset["unsaved"] ?? "";
    if (lost.length > 0 && !window.confirm(question)) event.preventDefault();
    else if (own) sent.set(own, new Map(fields(own).map((field) => [field, field.value])));
  });

  document.addEventListener("htmx:after:request", (event) => {
    const { sourceElement, response } = exchange(event);
    const own = formOf(sourceElement);
    if (!own || !response || response.status >= 400) return; // nothing was saved
    sent.get(own)?.forEach((value, field) => (field.defaultValue = value));
  });
}
