// Read the page's data: all stages in columns, and figures with the arrays that plotly.py packed.

const TYPED = {
  i1: Int8Array, u1: Uint8Array, i2: Int16Array, u2: Uint16Array, i4: Int32Array, u4: Uint32Array, f4: Float32Array, f8: Float64Array,
};

function unpacked(value) {
  if (Array.isArray(value)) return value.map(unpacked);
  if (value === null || typeof value !== "object") return value;
  if (!("bdata" in value)) return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, unpacked(part)]));
  const bytes = Uint8Array.from(atob(value.bdata), (letter) => letter.charCodeAt(0));
  const flat = Array.from(new TYPED[value.dtype](bytes.buffer), (number) => (Number.isNaN(number) ? null : number));
  if (value.shape === undefined) return flat;
  const [rows, columns] = String(value.shape).split(",").map(Number);
  return Array.from({ length: rows }, (_, row) => flat.slice(row * columns, (row + 1) * columns));
}

/** Return a column's values, which stages.py wrote in one of four ways. */
function whole(column, count) {
  if (Array.isArray(column)) return column;
  if ("every" in column) return Array(count).fill(column.every);
  if ("codes" in column) return column.codes.map((code) => (code < 0 ? null : column.values[code]));
  let words = [];
  return column.ends.map((end, row) => (words = [...words.slice(0, column.begins[row]), ...end.split("/")]).join("/"));
}

/** Read the stages: `names` of the columns, `count`, `at(column, row)`, `row(key)`, -1 for an unknown key, `keys(set)`. */
function readStages() {
  const { base, columns, sets } = JSON.parse(document.getElementById("stages").textContent);
  const count = columns.key.length;
  const full = Object.fromEntries(Object.entries(columns).map(([name, column]) => [name, whole(column, count)]));
  full.inputs = full.inputs.map((stages) => stages.map((stage) => (typeof stage === "number" ? full.key[stage] : stage)).join(","));
  full.folder = full.folder.map((folder, row) => folder ?? usualFolder(full.kind[row], full.name[row], full.key[row]));
  const rows = new Map(full.key.map((key, row) => [key, row]));
  const folder = (row) => `${base && `${base}/`}${full.folder[row]}`;
  return {
    names: Object.keys(full),
    count,
    at: (column, row) => full[column][row],
    row: (key) => rows.get(key) ?? -1,
    keys: (set) => (sets[set] || []).map((stage) => (typeof stage === "number" ? full.key[stage] : stage)),
    record: (row) => `${folder(row)}/record.json`,
    files: (row) => (full.files[row] || "").split(",").filter(Boolean)
      .map((file) => ({ file, address: `${folder(row)}/${full.out[row]}/${encodeURIComponent(file)}` })),
  };
}

/** Return a stage's folder, below the folder of all stages: see orchestrator/store/layout.py. */
const usualFolder = (kind, name, key) =>
  `${kind}/${name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "")}-${key}`;

/** Make an element with attributes and children; text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Return the plain text of a plotly name or title, which has line breaks and escapes. */
function words(text) {
  const plain = String(text ?? "").replace(/<br\s*\/?>/g, "; ").replace(/<[^>]*>/g, "");
  return new DOMParser().parseFromString(plain.replace(/</g, "&lt;"), "text/html").documentElement.textContent;
}
