// Opens the demo's committed snapshots without its backend: exported, from a plain server of files, and served frozen.
//
//   node export.mjs --binary PATH --browser /usr/bin/chromium
//
// Prints a line for each page, then `N passed, N failed`; exit 0 when none failed, 1 otherwise, 2 when it could not
// run. Nothing but Node's own modules.

import { spawn, spawnSync } from 'node:child_process';
import { createReadStream, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Browser } from './chromium.mjs';

const { values: options } = parseArgs({ options: { binary: { type: 'string' }, browser: { type: 'string' } } });
if (!options.binary || !options.browser) {
  console.error('error: --binary PATH and --browser PATH are needed');
  process.exit(2);
}
const LIMIT_MS = 240_000;
const SNAPSHOTS = path.join(import.meta.dirname, '../../snapshots/demo');
// Its owner's alone, and never stored; and a page of streams, which need a backend.
const OWN = '/account';
const STREAMS = '/live';

const work = mkdtempSync(path.join(tmpdir(), 'export-'));
const site = path.join(work, 'site');
let browser;
let frozen;
let files;

async function end(code) {
  await browser?.close().catch(() => {});
  frozen?.kill();
  files?.close();
  rmSync(work, { recursive: true, force: true, maxRetries: 20 });
  process.exit(code);
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => end(2));
setTimeout(() => {
  console.error(`error: not done after ${LIMIT_MS / 1000} s`);
  end(1);
}, LIMIT_MS).unref();

const TYPES = { '.html': 'text/html; charset=utf-8', '.css': 'text/css', '.js': 'text/javascript', '.svg': 'image/svg+xml' };

/** What any host of files does, and nothing of `_headers` and `_redirects`. */
function serveFiles() {
  files = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    let file = path.join(site, decodeURIComponent(pathname));
    const found = statSync(file, { throwIfNoEntry: false });
    if (found?.isDirectory() && !pathname.endsWith('/')) {
      response.writeHead(301, { Location: `${pathname}/` }).end();
      return;
    }
    if (found?.isDirectory()) file = path.join(file, 'index.html');
    if (!statSync(file, { throwIfNoEntry: false })) {
      response.writeHead(404).end('no such file\n');
      return;
    }
    response.writeHead(200, { 'Content-Type': TYPES[path.extname(file)] ?? 'application/octet-stream' });
    createReadStream(file).pipe(response);
  });
  return new Promise((resolve) => {
    files.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${files.address().port}`));
  });
}

function serveFrozen() {
  const flags = ['--bind=127.0.0.1', '--port=0', '--control-port=0', '--backend=http://127.0.0.1:9', '--log-format=json'];
  frozen = spawn(options.binary, ['serve', '--frozen', '--snapshots', SNAPSHOTS, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
  return new Promise((resolve, reject) => {
    frozen.once('exit', (code) => reject(new Error(`the server has ended (${code})`)));
    createInterface({ input: frozen.stderr }).on('line', (line) => {
      const { address } = JSON.parse(line);
      if (address) resolve(address);
    });
  });
}

/** The pages of the export, as their folders. */
function pages(folder = site, prefix = '/') {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isDirectory() && !entry.name.startsWith('.')) {
      return pages(path.join(folder, entry.name), `${prefix}${entry.name}/`);
    }
    return entry.name === 'index.html' ? [prefix] : [];
  });
}

let passed = 0;
let failed = 0;

async function step(name, action) {
  try {
    await action();
    passed += 1;
    console.log(`ok    ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}: ${error.message}`);
  }
}

/** Everything is there, and the browser has nothing to complain of; where the links lead. */
async function look(tab, page) {
  const since = tab.requests.length;
  tab.complaints.length = 0;
  await tab.open(page);
  const missing = tab.requests.slice(since).filter(({ status }) => status >= 400);
  if (missing.length) throw new Error(`missing: ${missing.map(({ path: target }) => target).join(', ')}`);
  if (tab.complaints.length) throw new Error(tab.complaints.join('; '));
  if (!(await tab.see('[...document.images].every((image) => image.naturalWidth > 0)'))) throw new Error('a picture is missing');
  if (!(await tab.see('document.styleSheets[0].cssRules.length > 10'))) throw new Error('the style is missing');
  return tab.see(`[...document.querySelectorAll('a[href]')].filter((a) => a.origin === location.origin).map((a) => a.pathname)`);
}

async function walk(what, base, names) {
  const visitor = await browser.visitor(base);
  const tab = await visitor.tab();
  const links = new Set();
  for (const page of names.filter((name) => !name.startsWith(STREAMS))) {
    await step(`${what}: ${page}`, async () => {
      for (const link of await look(tab, page)) links.add(link);
    });
  }
  await step(`${what}: ${links.size} links lead somewhere`, async () => {
    for (const link of links) {
      const { status } = await fetch(base + link);
      if ((status === 200) === (link === OWN)) throw new Error(`${link}: ${status}`);
    }
  });
}

try {
  const made = spawnSync(options.binary, ['export', '--snapshots', SNAPSHOTS, '--json', site], { encoding: 'utf8' });
  const { dead } = JSON.parse(made.stdout);
  await step('the only link that leads nowhere is the one to what is never stored', () => {
    if (!dead.length || dead.some(({ link }) => link !== OWN)) throw new Error(JSON.stringify(dead));
  });
  browser = new Browser(options.browser);
  const names = pages();
  await walk('files', await serveFiles(), names);
  // Slashes are the export's.
  await walk('frozen', await serveFrozen(), names.map((name) => name.replace(/(.)\/$/, '$1')));
} catch (error) {
  console.error(`error: ${error.stack}`);
  await end(2);
}
console.log(`${passed} passed, ${failed} failed`);
await end(failed ? 1 : 0);
