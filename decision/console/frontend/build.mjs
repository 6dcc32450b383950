// Builds the console's scripts and styles into a folder (../static, or the one named), with a hash
// in each name, and a manifest of plain name → name. The same sources give the same bytes.

import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const target = resolve(process.argv[2] ?? join(here, "../static"));
const entries = ["console.ts", "editor.ts", "grid.ts", "console.css", "icon.svg"];

const { outputFiles, metafile } = await build({
  absWorkingDir: here,
  entryPoints: entries.map((name) => `src/${name}`),
  bundle: true,
  minify: true,
  write: false,
  metafile: true,
  outdir: "static",
  entryNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  format: "esm",
  target: ["chrome123", "firefox120", "safari17.5"],
  charset: "utf8",
  legalComments: "none",
  loader: { ".svg": "copy" },
  logLevel: "warning",
});

await mkdir(target, { recursive: true });
for (const name of await readdir(target)) await rm(join(target, name));
const manifest = {};
for (const [path, output] of Object.entries(metafile.outputs)) {
  const source = output.entryPoint ?? Object.keys(output.inputs)[0];
  if (source) manifest[basename(source, ".ts") + (extname(source) === ".ts" ? ".js" : "")] = basename(path);
}
for (const file of outputFiles) await writeFile(join(target, basename(file.path)), file.contents);
// The licences of what is built in go with it.
const packages = new Set();
for (const output of Object.values(metafile.outputs)) {
  for (const [path, { bytesInOutput }] of Object.entries(output.inputs)) {
    const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path);
    if (found && bytesInOutput > 0) packages.add(found[1]);
  }
}
let licenses = "";
for (const name of [...packages].sort()) {
  const folder = join(here, "node_modules", name);
  const { version } = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
  licenses += `${name} ${version}\n\n${(await readFile(join(folder, "LICENSE"), "utf8")).trim()}\n\n\n`;
}
await writeFile(join(target, "licenses.txt"), `${licenses.trim()}\n`);

const sorted = Object.fromEntries(Object.entries(manifest).sort());
await writeFile(join(target, "manifest.json"), `${JSON.stringify(sorted, null, 2)}\n`);
