// <nb-editor> around a <textarea>: YAML in CodeMirror, in a shadow root. Without script the textarea
// is what it is; with script it stays the field of its form, and follows what is typed.
//
//   data-lint      address that takes `text` and answers a list of diagnostics as JSON
//   data-complete  address that takes `text`, `line`, `column` and answers a completion
//   data-hover     the same, and answers what a key or name means, or null
//   data-phrases   JSON, English text of the editor → text to show
//   data-line      the line to show at first, from 1
//
// Lines and columns count from 1, columns in characters (not in UTF-16 units).

import {
  autocompletion,
  completionKeymap,
  type CompletionContext,
  type CompletionResult,
} from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { yaml } from "@codemirror/lang-yaml";
import { bracketMatching, HighlightStyle, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { type Diagnostic, forEachDiagnostic, linter, lintGutter, lintKeymap } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { EditorState, type Text } from "@codemirror/state";
import {
  drawSelection,
  EditorView,
  highlightActiveLine,
  highlightActiveLineGutter,
  hoverTooltip,
  keymap,
  lineNumbers,
  type ViewUpdate,
} from "@codemirror/view";
import { tags } from "@lezer/highlight";

interface Problem {
  line: number;
  column: number;
  message: string;
  severity: "error" | "warning";
  hint?: string;
  code?: string;
}

interface Completion {
  start: number;
  end: number;
  candidates: { label: string; insert: string; kind: "key" | "value" | "name"; detail?: string }[];
}

interface Hover {
  name: string;
  text: string;
  allowed?: string;
}

const LINT_AFTER_MS = 350;
const KINDS = { key: "property", value: "constant", name: "variable" } as const;

const colours = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: "var(--chart-6)" },
  { tag: [tags.string, tags.content], color: "var(--ink)" },
  { tag: [tags.number, tags.bool, tags.null, tags.keyword], color: "var(--chart-3)" },
  { tag: tags.comment, color: "var(--quiet-ink)", fontStyle: "italic" },
  { tag: [tags.punctuation, tags.separator, tags.meta], color: "var(--quiet-ink)" },
  { tag: tags.special(tags.string), color: "var(--chart-2)" },
]);

const look = EditorView.theme({
  "&": { backgroundColor: "var(--paper)", color: "var(--ink)", fontSize: "13.5px" },
  "&.cm-focused": { outline: "none" }, // the element around it has one
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.5", maxHeight: "var(--editor-height, 70vh)", minHeight: "12rem" },
  ".cm-content": { caretColor: "var(--ink)", minHeight: "12rem" },
  ".cm-cursor, .cm-dropCursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "var(--raised)", color: "var(--quiet-ink)", border: "0" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "color-mix(in srgb, var(--accent) 9%, transparent)" },
  "&.cm-focused .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "color-mix(in srgb, var(--accent) 28%, transparent) !important" },
  ".cm-tooltip": { backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid var(--strong-line)", borderRadius: "6px", maxWidth: "min(36rem, 90vw)" },
  ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: "var(--accent) !important", color: "var(--on-accent) !important" },
  ".cm-completionDetail": { opacity: "0.85", fontStyle: "normal", marginLeft: "0.8em" },
  ".cm-diagnostic": { padding: "4px 8px", whiteSpace: "pre-wrap" },
  // Instead of pictures in data: addresses, which the policy forbids.
  ".cm-lintRange-error, .cm-lintRange-warning, .cm-lintRange-info, .cm-lintRange-hint": { backgroundImage: "none" },
  ".cm-lintRange-error": { textDecoration: "underline wavy var(--bad)" },
  ".cm-lintRange-warning": { textDecoration: "underline wavy var(--warning)" },
  ".cm-lint-marker-error, .cm-lint-marker-warning, .cm-lint-marker-info": { content: "normal", borderRadius: "50%", width: "0.7em", height: "0.7em", margin: "0.4em 0.1em" },
  ".cm-lint-marker-error": { backgroundColor: "var(--bad)" },
  ".cm-lint-marker-warning": { backgroundColor: "var(--warning)" },
  ".cm-panels": { backgroundColor: "var(--raised)", color: "var(--ink)", borderTop: "1px solid var(--line)" },
  ".cm-button, .cm-textfield": { backgroundImage: "none", backgroundColor: "var(--paper)", color: "var(--ink)", border: "1px solid var(--strong-line)", borderRadius: "4px" },
  ".hover": { padding: "4px 8px", whiteSpace: "pre-wrap" },
});

const sheet = new CSSStyleSheet();
sheet.replaceSync(`
  :host { display: block; border: 1px solid var(--strong-line); border-radius: var(--radius); overflow: hidden; }
  :host(:focus-within) { outline: 3px solid var(--accent); outline-offset: 1px; }
  .status { margin: 0; padding: 0.3rem 0.7rem; min-height: 1.5em; border-top: 1px solid var(--line);
    background: var(--raised); color: var(--quiet-ink); font-size: 0.8125rem; white-space: pre-wrap; }
  .status.error { color: var(--bad); }
  .status.warning { color: var(--warning); }
`);

/** The place of a line and column, from 1, in characters. */
function placeOf(text: Text, line: number, column: number): number {
  const row = text.line(Math.min(Math.max(line, 1), text.lines));
  const before = Array.from(row.text).slice(0, Math.max(column, 1) - 1).join("");
  return row.from + before.length;
}

/** The line and column of a place, from 1, in characters. */
function lineAndColumn(text: Text, at: number): { line: number; column: number } {
  const row = text.lineAt(at);
  return { line: row.number, column: Array.from(row.text.slice(0, at - row.from)).length + 1 };
}

class Editor extends HTMLElement {
  #view: EditorView | undefined;
  #area: HTMLTextAreaElement | undefined;

  connectedCallback(): void {
    const area = this.querySelector("textarea");
    if (!area || this.shadowRoot) return;
    this.#area = area;
    const root = this.attachShadow({ mode: "open" });
    root.adoptedStyleSheets = [sheet];
    const status = document.createElement("p");
    status.className = "status";
    status.setAttribute("role", "status");
    const label = area.labels?.[0];
    this.#view = new EditorView({
      root,
      parent: root,
      state: EditorState.create({ doc: area.value, extensions: this.#extensions(area, status) }),
    });
    // StyleModule puts its sheets in front: ours stays where it is.
    if (!root.adoptedStyleSheets.includes(sheet)) root.adoptedStyleSheets = [...root.adoptedStyleSheets, sheet];
    root.append(status);
    label?.addEventListener("click", () => this.#view?.focus());
    const line = Number(this.dataset["line"] ?? 0);
    if (line > 0) this.show(line, 1);
  }

  disconnectedCallback(): void {
    this.#view?.destroy();
    this.#view = undefined;
  }

  /** What is written. */
  get value(): string {
    return this.#view?.state.doc.toString() ?? this.#area?.value ?? "";
  }

  set value(text: string) {
    const view = this.#view;
    view?.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
  }

  override focus(): void {
    this.#view?.focus();
  }

  /** Puts the cursor at a line and column, and shows it. */
  show(line: number, column: number): void {
    const view = this.#view;
    if (!view) return;
    const anchor = placeOf(view.state.doc, line, column);
    view.dispatch({ selection: { anchor }, effects: EditorView.scrollIntoView(anchor, { y: "center" }) });
    view.focus();
  }

  #extensions(area: HTMLTextAreaElement, status: HTMLElement) {
    const { lint, complete, hover, phrases } = this.dataset;
    const name = area.labels?.[0]?.textContent?.trim() || area.getAttribute("aria-label") || area.name;
    const found = [
      lineNumbers(),
      highlightActiveLine(),
      highlightActiveLineGutter(),
      history(),
      drawSelection(),
      indentUnit.of("  "),
      EditorState.tabSize.of(2),
      EditorState.phrases.of(phrases ? JSON.parse(phrases) : {}),
      EditorState.readOnly.of(area.readOnly || area.disabled),
      yaml(),
      bracketMatching(),
      highlightSelectionMatches(),
      syntaxHighlighting(colours),
      look,
      EditorView.lineWrapping,
      EditorView.contentAttributes.of({ "aria-label": name, spellcheck: "false", tabindex: "0" }),
      EditorView.updateListener.of((update) => this.#follow(update, area, status)),
      keymap.of([
        { key: "Mod-s", run: () => this.#send(area), preventDefault: true },
        ...completionKeymap,
        ...lintKeymap,
        ...searchKeymap,
        ...historyKeymap,
        ...defaultKeymap, // Tab is left to the browser: it leads out of the editor
      ]),
    ];
    if (lint) found.push(lintGutter(), linter((view) => this.#lint(view, lint), { delay: LINT_AFTER_MS }));
    if (complete) found.push(autocompletion({ icons: false, override: [(context) => this.#complete(context, complete)] }));
    if (hover) found.push(hoverTooltip((view, at) => this.#hover(view, at, hover)));
    return found;
  }

  #follow(update: ViewUpdate, area: HTMLTextAreaElement, status: HTMLElement): void {
    if (update.docChanged) {
      area.value = update.state.doc.toString();
      area.dispatchEvent(new Event("input", { bubbles: true }));
    }
    const { doc, selection } = update.state;
    const line = doc.lineAt(selection.main.head).number;
    let said = "";
    let kind = "";
    let others = 0;
    forEachDiagnostic(update.state, (one, from) => {
      if (!said && doc.lineAt(from).number === line) {
        said = one.message;
        kind = one.severity;
      } else others += 1;
    });
    const more = others ? `${update.state.phrase("Problems in other lines (F8):")} ${others}` : "";
    const text = [said, more].filter(Boolean).join("\n");
    if (status.textContent !== text) status.textContent = text;
    status.className = `status ${kind || (others ? "warning" : "")}`.trim();
  }

  #send(area: HTMLTextAreaElement): boolean {
    // As Enter in a field does, so that a script that listens to the button hears it.
    const button = area.form?.querySelector<HTMLButtonElement>("button:not([type]), button[type=submit]");
    if (button) button.click();
    else area.form?.requestSubmit();
    return area.form !== null;
  }

  async #ask<T>(address: string, fields: Record<string, string | number>): Promise<T | null> {
    const token = this.closest("form")?.querySelector<HTMLInputElement>("input[name=csrf]")?.value;
    const body = new URLSearchParams(Object.entries(fields).map(([key, value]) => [key, String(value)]));
    try {
      const answer = await fetch(address, {
        method: "POST",
        headers: { "X-CSRF-Token": token ?? "", Accept: "application/json" },
        body,
      });
      return answer.ok ? ((await answer.json()) as T) : null;
    } catch {
      return null; // the server is not there: writing goes on
    }
  }

  async #lint(view: EditorView, address: string): Promise<readonly Diagnostic[]> {
    const doc = view.state.doc;
    const problems = await this.#ask<Problem[]>(address, { text: doc.toString() });
    return (problems ?? []).map(({ line, column, message, severity, hint, code }) => {
      const from = placeOf(doc, line, column);
      const rest = doc.lineAt(from).text.slice(from - doc.lineAt(from).from);
      const word = /^[^\s:,[\]{}]+/.exec(rest)?.[0].length ?? 1;
      const to = Math.min(from + Math.max(word, 1), doc.lineAt(from).to);
      const about = code ? ` [${code}]` : "";
      return { from, to: Math.max(from, to), severity, message: `${line}:${column} ${message}${about}${hint ? `\n${hint}` : ""}` };
    });
  }

  async #complete(context: CompletionContext, address: string): Promise<CompletionResult | null> {
    if (!context.explicit && !context.matchBefore(/[\w.\u4e00-\u9fff-]+$/)) return null;
    const doc = context.state.doc;
    const place = lineAndColumn(doc, context.pos);
    const found = await this.#ask<Completion>(address, { text: doc.toString(), ...place });
    if (!found || context.aborted) return null;
    return {
      from: placeOf(doc, place.line, found.start),
      to: placeOf(doc, place.line, found.end),
      options: found.candidates.map(({ label, insert, kind, detail }, place) => ({
        label,
        apply: insert,
        type: KINDS[kind],
        boost: -Math.min(place, 99),
        ...(detail ? { detail } : {}),
      })),
    };
  }

  async #hover(view: EditorView, at: number, address: string) {
    const doc = view.state.doc;
    const found = await this.#ask<Hover>(address, { text: doc.toString(), ...lineAndColumn(doc, at) });
    if (!found) return null;
    return {
      pos: at,
      create: () => {
        const dom = document.createElement("div");
        dom.className = "hover";
        dom.textContent = [`${found.name}: ${found.text}`, found.allowed].filter(Boolean).join("\n");
        return { dom };
      },
    };
  }
}

customElements.define("nb-editor", Editor);
