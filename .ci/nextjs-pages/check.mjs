// A Next.js site of 200 generated pages as a cache that is committed: looked at, rendered, reviewed, exported.
//
//   node check.mjs --app DIR --binary PATH [--browser /usr/bin/chromium]
//
// DIR is a copy of site/ after `npm install`; it is built here. Prints what `check` and `noise` found and a line for
// each step, then `N passed, N failed`; exit 0 when none failed, 1 otherwise. Nothing but Node's own modules.

import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Browser } from '../browser/chromium.mjs';

const { values: options } = parseArgs({
  options: { app: { type: 'string' }, binary: { type: 'string' }, browser: { type: 'string' } },
});
const binary = path.resolve(options.binary);
const work = mkdtempSync(path.join(tmpdir(), 'pages-'));
// Of the site's pages those that nobody may keep, and the one that never reads the same twice.
const LEFT_OUT = ['/basket', '/clock', '/now'];
let site;
let browser;
let server;

// --- The report ----------------------------------------------------------------------------------------

let passed = 0;
let failed = 0;

async function step(name, action) {
  try {
    const note = await action();
    passed += 1;
    console.log(`ok    ${name}${note ? ` (${note})` : ''}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}: ${error.message}`);
  }
}

function equal(actual, expected, what) {
  const [a, b] = [actual, expected].map((value) => JSON.stringify(value));
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

const indented = (text) => text.trimEnd().replace(/^/gm, '      ');

// --- Processes -----------------------------------------------------------------------------------------

function run(program, words, cwd, env = {}) {
  const { status, stdout, stderr, error } = spawnSync(program, words, {
    cwd,
    env: { ...process.env, NO_COLOR: '1', NEXT_TELEMETRY_DISABLED: '1', ...env },
    encoding: 'utf8',
    maxBuffer: 64 << 20,
    timeout: 400_000,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

function succeeds(program, words, cwd, env) {
  const { status, stdout, stderr } = run(program, words, cwd, env);
  if (status !== 0) throw new Error(`${program} ${words.join(' ')}: exit code ${status}\n${stdout}${stderr}`);
  return stdout;
}

const git = (...words) =>
  succeeds('git', ['-c', 'user.name=ci', '-c', 'user.email=ci@example.com', '-c', 'commit.gpgsign=false', ...words], work);

// Next sends an icon of app/ with a query, and with neither a lifetime nor a validator.
const CONFIG = `
[server]
public_url = "https://pages.example"

[[rule]]
match = ["/icon.svg"]
ttl = "1 day"
keep_query = []
`;
/** What the command says, and its exit code. */
const phantomWithClock = (...words) => run(binary, [...words, '--config=site.toml', `--backend=${site.url}`, '--log=warn'], work);
const phantom = (...words) => phantomWithClock(...words, '--exclude=/clock');

function build() {
  // The same each time: Next would write a new one into every page.
  succeeds('npx', ['--no-install', 'next', 'build'], options.app, { BUILD_ID: 'reviewed' });
}

async function start() {
  const next = path.join(options.app, 'node_modules/next/dist/bin/next');
  const child = spawn(process.execPath, [next, 'start', '-H', '127.0.0.1', '-p', '0'], {
    cwd: options.app,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const url = await new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`next has ended (${code})`)));
    let address;
    createInterface({ input: child.stdout }).on('line', (line) => {
      address ??= /http:\/\/127\.0\.0\.1:\d+/.exec(line)?.[0];
      if (address && /Ready/.test(line)) resolve(address);
    });
  });
  site = { child, url };
}

async function stop() {
  const ended = new Promise((resolve) => site.child.once('exit', resolve));
  if (site.child.exitCode === null && site.child.kill()) await ended;
}

// --- A plain static server -----------------------------------------------------------------------------

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.xml': 'text/xml' };

/** Files, and `index.html` of folders; nothing of `_headers` or `_redirects`. */
function serve(root) {
  const answer = ({ url }, response) => {
    const { pathname } = new URL(url, 'http://localhost');
    let file = path.join(root, decodeURIComponent(pathname));
    try {
      if (statSync(file).isDirectory()) {
        if (!pathname.endsWith('/')) return response.writeHead(301, { location: `${pathname}/` }).end();
        file = path.join(file, 'index.html');
      }
      response.writeHead(200, { 'content-type': TYPES[path.extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file));
    } catch {
      response.writeHead(404, { 'content-type': 'text/html' }).end('<!doctype html>not found');
    }
  };
  return new Promise((resolve) => {
    server = http.createServer(answer).listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

/** Follows every link and asset of every page from `/` on: pages and what is missing. */
async function follow(base) {
  const seen = new Set(['/']);
  const missing = [];
  for (const target of seen) {
    const answer = await fetch(base + target);
    if (answer.status !== 200) missing.push(target);
    if (!answer.headers.get('content-type').includes('html')) {
      await answer.arrayBuffer();
      continue;
    }
    const html = await answer.text();
    for (const [, link] of html.matchAll(/<[^>]+?\s(?:href|src)="([^"]+)"/g)) {
      const { origin, pathname, search } = new URL(link.replaceAll('&amp;', '&'), answer.url);
      if (origin === base) seen.add(pathname + search);
    }
  }
  return { count: seen.size, missing: missing.sort() };
}

// --- The steps -----------------------------------------------------------------------------------------

async function lookedAt() {
  await step('check looks at it', () => {
    const { status, stdout } = run(binary, ['check', site.url, '--limit', '400'], work);
    equal(status, 0, 'exit code');
    // Of the clock Next may send the same rendering twice: it makes a new one behind the answer.
    for (const [page, why] of [['/now', 'no-store; not the same twice: time'], ['/basket', 'set-cookie'], ['/clock', 'varies by']]) {
      const line = stdout.split('\n').find((line) => line.includes(`${site.url}${page} `));
      if (!line?.includes(why)) throw new Error(`${page}: ${line} does not say ${why}`);
    }
    // The table has a line for each of 200 pages.
    console.log(indented(stdout.slice(stdout.search(/^\d+ pages:/m))));
  });
  await step('prerender --crawl renders it', () => {
    const { status, stdout } = phantomWithClock('prerender', '--crawl');
    equal(status, 0, 'exit code');
    console.log(indented(stdout));
  });
  await step('noise finds the page that never reads the same, and no other', () => {
    const { status, stdout } = phantomWithClock('noise', '--limit=400', '--concurrency=8');
    console.log(indented(stdout));
    equal(status, 1, 'exit code');
    equal(stdout.split('\n').filter((line) => line.startsWith('/')), ['/clock'], 'pages with noise');
  });
}

async function committed() {
  await step('what was rendered again has not changed', () => {
    phantomWithClock('rm', '/clock');
    git('init', '--quiet');
    git('add', 'site.toml', 'snapshots');
    git('commit', '--quiet', '--message', 'Snapshots');
    const { status, stdout, stderr } = phantom('prerender', '--crawl', '--all');
    equal(status, 0, stderr);
    equal(git('status', '--porcelain'), '', 'git status');
    return stdout.split('\n')[0];
  });
  await step('diff finds nothing', () => {
    const { status, stdout } = phantom('diff');
    equal(status, 0, stdout.slice(0, 2000));
    return stdout.trim();
  });
}

async function changed() {
  await stop();
  writeFileSync(path.join(options.app, 'changes.json'), JSON.stringify({ 17: 'Rewritten.' }));
  build();
  await start();
  await step('of another build with one page changed diff shows that page', () => {
    const { status, stdout } = phantom('diff', '--stat');
    equal(status, 1, 'exit code');
    const lines = stdout.split('\n').filter((line) => / {2}\//.test(line));
    equal(lines.map((line) => line.trim().split(/\s+/).at(-1)), ['/articles/ridge-17'], 'pages');
    return stdout.trim().split('\n').at(-1);
  });
  await step('accept takes it, and nothing else', () => {
    const { status, stdout } = phantom('accept');
    equal(status, 0, stdout);
    const names = git('diff', '--name-only').trim().split('\n');
    equal(names.map((name) => name.replace(/\.[0-9a-f]{16}\./, '.')), ['html', 'toml'].map((type) => `snapshots/articles/ridge-17.${type}`), 'files');
    git('commit', '--quiet', '--all', '--message', 'Rewritten');
    equal(phantom('diff').status, 0, 'exit code of diff');
  });
}

async function exported() {
  await stop();
  await step('its export has every page, and says which links lead nowhere', () => {
    const { status, stdout } = phantom('export', 'export');
    equal(status, 1, 'exit code');
    const nowhere = stdout.split('links that lead nowhere').at(-1).matchAll(/^ {2}(\S+)/gm);
    equal([...nowhere].map(([, target]) => target).sort(), LEFT_OUT, 'links that lead nowhere');
    equal(phantom('export', 'export').stdout.split('\n')[0].startsWith('0 files written'), true, 'a second run writes');
    return stdout.split('\n')[0];
  });
  const base = await serve(path.join(work, 'export'));
  await step('a static server answers every link and asset of it', async () => {
    const { count, missing } = await follow(base);
    equal(missing, LEFT_OUT, 'missing');
    if (count < 205) throw new Error(`${count} addresses only`);
    return `${count} addresses`;
  });
  if (!options.browser) return console.log('skip  the browser: no Chromium');
  browser = new Browser(options.browser);
  await step('Chromium shows it without a complaint', async () => {
    const tab = await (await browser.visitor(base)).tab();
    await tab.open('/');
    await tab.click('#count');
    await tab.shows(`document.querySelector('#count').textContent === '1'`);
    for (const title of ['The hut and the rope, 200', 'The ridge and the stove, 1']) {
      await tab.click(title.endsWith('200') ? 'main li:last-child a' : 'article a');
      await tab.shows(`document.querySelector('h1')?.textContent === ${JSON.stringify(title)}`);
    }
    for (let n = 0; n < 16; n += 1) await tab.open(new URL(await tab.see(`document.querySelector('article a').href`)).pathname);
    equal(await tab.text('article p'), 'Rewritten.', 'the 17th page');
    equal(tab.complaints, [], 'complaints');
    equal(tab.requests.filter(({ status }) => status >= 400).map(({ path }) => path), [], 'missing');
    return `${tab.requests.length} requests`;
  });
}

async function end() {
  await browser?.close().catch(() => {});
  server?.closeAllConnections();
  server?.close();
  if (site) await stop();
  rmSync(work, { recursive: true, force: true, maxRetries: 20 });
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => end().then(() => process.exit(1)));

try {
  writeFileSync(path.join(work, 'site.toml'), CONFIG);
  build();
  await start();
  await lookedAt();
  await committed();
  await changed();
  await exported();
} catch (error) {
  failed += 1;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await end();
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
