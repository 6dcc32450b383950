// <nb-grid> around a table made by the server: a filter, sorting by a column, rows by keyboard.
// Without script the table is what it is.
//
//   data-filter   label of the filter
//   data-shown    "{n} of {m}": how many rows are shown
//   data-all      the choice of a column that hides nothing: "all"
//   data-state    prefix of the query fields that keep filter and order in the address; none: not kept
//   th[data-choices]   a column with a choice of its values above the table
//   th.number, td[data-value]   sorted by number, or by this value
//
// Keys on a row: up, down, Home, End; Enter follows its first link.

type Order = "ascending" | "descending";

class Grid extends HTMLElement {
  #table: HTMLTableElement | undefined;
  #rows: HTMLTableRowElement[] = [];
  #texts: string[] = [];
  #search: HTMLInputElement | undefined;
  #choices = new Map<number, HTMLSelectElement>();
  #shown: HTMLElement | undefined;
  #column = -1;
  #order: Order = "ascending";

  connectedCallback(): void {
    const table = this.querySelector("table");
    const body = table?.tBodies[0];
    if (!table || !body || this.#table) return;
    this.#table = table;
    this.#rows = [...body.rows];
    this.#texts = this.#rows.map((row) => (row.textContent ?? "").toLowerCase());
    this.#addTools(table);
    this.#addOrder(table);
    this.#addKeys(body);
    this.#restore();
    this.#filter();
  }

  #head(): HTMLTableCellElement[] {
    return [...(this.#table?.tHead?.rows[0]?.cells ?? [])];
  }

  #addTools(table: HTMLTableElement): void {
    const tools = document.createElement("div");
    tools.className = "filters grid-tools";
    const search = document.createElement("input");
    search.type = "search";
    search.autocomplete = "off";
    search.addEventListener("input", () => this.#filter());
    tools.append(labelled(this.dataset["filter"] ?? "", search));
    this.#search = search;
    this.#head().forEach((cell, column) => {
      if (cell.dataset["choices"] === undefined) return;
      const select = document.createElement("select");
      select.append(new Option(this.dataset["all"] ?? "", ""));
      const values = new Set(this.#rows.map((row) => textOf(row.cells[column])));
      for (const value of [...values].filter(Boolean).sort()) select.append(new Option(value, value));
      select.addEventListener("change", () => this.#filter());
      this.#choices.set(column, select);
      tools.append(labelled(textOf(cell), select));
    });
    const shown = document.createElement("p");
    shown.className = "count";
    shown.setAttribute("role", "status");
    this.#shown = shown;
    tools.append(shown);
    (table.closest(".table") ?? table).before(tools);
  }

  #addOrder(table: HTMLTableElement): void {
    void table;
    this.#head().forEach((cell, column) => {
      if (!textOf(cell)) return;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "order";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const again = this.#column === column && this.#order === "ascending";
        this.#sort(column, again ? "descending" : "ascending");
        this.#keep();
      });
    });
  }

  #addKeys(body: HTMLTableSectionElement): void {
    this.#rows.forEach((row, n) => (row.tabIndex = n === 0 ? 0 : -1));
    body.addEventListener("focusin", (event) => {
      const row = (event.target as Element).closest("tr");
      if (!row) return;
      for (const one of body.querySelectorAll<HTMLTableRowElement>('tr[tabindex="0"]')) one.tabIndex = -1;
      row.tabIndex = 0;
    });
    body.addEventListener("keydown", (event) => {
      const row = event.target;
      if (!(row instanceof HTMLTableRowElement)) return;
      const rows = [...body.rows].filter((one) => !one.hidden);
      const at = rows.indexOf(row);
      const next: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 };
      const to = next[event.key];
      if (to !== undefined) {
        event.preventDefault();
        rows[Math.min(Math.max(to, 0), rows.length - 1)]?.focus();
      } else if (event.key === "Enter") {
        row.querySelector<HTMLAnchorElement>("a[href]")?.click();
      }
    });
  }

  #sort(column: number, order: Order): void {
    this.#column = column;
    this.#order = order;
    const sign = order === "ascending" ? 1 : -1;
    const numeric = this.#head()[column]?.classList.contains("number") ?? false;
    const collator = new Intl.Collator(document.documentElement.lang || undefined, { numeric: true });
    const keyed = this.#rows.map((row, n) => ({ row, n, key: keyOf(row.cells[column], numeric) }));
    keyed.sort((a, b) => {
      if (a.key === null || b.key === null) return a.key === b.key ? a.n - b.n : a.key === null ? 1 : -1;
      const difference =
        typeof a.key === "number" && typeof b.key === "number"
          ? a.key - b.key
          : collator.compare(String(a.key), String(b.key));
      return difference * sign || a.n - b.n;
    });
    this.#table?.tBodies[0]?.append(...keyed.map(({ row }) => row));
    this.#head().forEach((cell, n) => {
      if (n === column) cell.setAttribute("aria-sort", order);
      else cell.removeAttribute("aria-sort");
    });
  }

  #filter(): void {
    const words = (this.#search?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    this.#rows.forEach((row, n) => {
      const text = this.#texts[n] ?? "";
      let fits = words.every((word) => text.includes(word));
      for (const [column, select] of this.#choices) {
        fits &&= !select.value || textOf(row.cells[column]) === select.value;
      }
      row.hidden = !fits;
      if (fits) shown += 1;
    });
    const body = this.#table?.tBodies[0];
    if (body && !body.querySelector('tr[tabindex="0"]:not([hidden])')) {
      const first = [...body.rows].find((row) => !row.hidden);
      for (const row of body.querySelectorAll<HTMLTableRowElement>('tr[tabindex="0"]')) row.tabIndex = -1;
      if (first) first.tabIndex = 0;
    }
    if (this.#shown) {
      const text = (this.dataset["shown"] ?? "{n} / {m}").replace("{n}", String(shown)).replace("{m}", String(this.#rows.length));
      this.#shown.textContent = text;
    }
    this.#keep();
  }

  /** Filter and order are in the address, so that it can be given to others. */
  #keep(): void {
    const prefix = this.dataset["state"];
    if (!prefix) return;
    const address = new URL(location.href);
    const set = (name: string, value: string) => {
      if (value) address.searchParams.set(`${prefix}.${name}`, value);
      else address.searchParams.delete(`${prefix}.${name}`);
    };
    set("find", this.#search?.value ?? "");
    for (const [column, select] of this.#choices) set(String(column), select.value);
    set("by", this.#column < 0 ? "" : `${this.#order === "descending" ? "-" : ""}${this.#column}`);
    if (address.href !== location.href) history.replaceState(history.state, "", address);
  }

  #restore(): void {
    const prefix = this.dataset["state"];
    if (!prefix) return;
    const asked = new URLSearchParams(location.search);
    const get = (name: string) => asked.get(`${prefix}.${name}`) ?? "";
    if (this.#search) this.#search.value = get("find");
    for (const [column, select] of this.#choices) select.value = get(String(column));
    const by = /^(-?)(\d+)$/.exec(get("by"));
    if (by) this.#sort(Number(by[2]), by[1] ? "descending" : "ascending");
  }
}

function textOf(cell: Element | undefined): string {
  return (cell?.textContent ?? "").replace(/\s+/g, " ").trim();
}

/** What a cell is sorted by; null where it is empty: such rows come last. */
function keyOf(cell: HTMLTableCellElement | undefined, numeric: boolean): string | number | null {
  const text = cell?.dataset["value"] ?? textOf(cell);
  if (!text) return null;
  if (!numeric) return text;
  const number = Number(text.replace(/[^\d.eE+-]/g, ""));
  return Number.isFinite(number) ? number : null;
}

function labelled(text: string, field: HTMLElement): HTMLElement {
  const label = document.createElement("label");
  label.className = "field";
  const name = document.createElement("span");
  name.textContent = text;
  label.append(name, field);
  return label;
}

customElements.define("nb-grid", Grid);
