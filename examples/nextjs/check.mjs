// Compares this site through phantom-frame with the same site asked directly.
//
//   node check.mjs --app DIR --binary PATH [--browser /usr/bin/chromium] [--verbose]
//   node check.mjs --app DIR --dry-run          the bare site stands in for both sides; nothing is asked of a cache
//
// DIR is a copy of this directory after `npm install` and `next build`. `.ci/nextjs` makes one and calls this.
// Prints a line for each check, then `N passed, N failed`; exit 0 when none failed, 1 otherwise, 2 when it
// could not run. Nothing but Node's own modules; the browser part needs playwright-core next to `next`.

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { cases, DOCUMENT } from './check-requests.mjs';

const { values: options } = parseArgs({
  options: {
    app: { type: 'string' },
    binary: { type: 'string' },
    browser: { type: 'string' },
    'dry-run': { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});
const dryRun = options['dry-run'];
if (!options.app || (!options.binary && !dryRun)) {
  console.error('error: --app DIR and --binary PATH are needed (or --app DIR --dry-run)');
  process.exit(2);
}
const app = path.resolve(options.app);
const LIMIT_MS = 240_000;
const REQUEST_MS = 15_000;

// --- The report ----------------------------------------------------------------------------------------

let passed = 0;
let failed = 0;

function check(name, problem, note) {
  if (problem) {
    failed += 1;
    console.log(`FAIL  ${name}: ${problem}`);
  } else {
    passed += 1;
    console.log(`ok    ${name}${note ? ` (${note})` : ''}`);
  }
}

// --- HTTP ----------------------------------------------------------------------------------------------

function ask(base, { path: target, method = 'GET', headers = {}, body }) {
  const { hostname, port, origin } = new URL(base);
  const own = Object.fromEntries(Object.entries(headers).map(([k, v]) => [k, v === 'ORIGIN' ? origin : v]));
  if (body !== undefined) own['content-length'] = Buffer.byteLength(body);
  return new Promise((resolve, reject) => {
    const request = http.request({ hostname, port, path: target, method, headers: own, agent: false }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const fields = new Map();
        for (let i = 0; i < response.rawHeaders.length; i += 2) {
          const name = response.rawHeaders[i].toLowerCase();
          fields.set(name, [...(fields.get(name) ?? []), response.rawHeaders[i + 1]]);
        }
        let bytes = Buffer.concat(chunks);
        if (fields.get('content-encoding')?.[0] === 'gzip' && bytes.length) bytes = gunzipSync(bytes);
        resolve({ status: response.statusCode, fields, bytes });
      });
    });
    request.setTimeout(REQUEST_MS, () => request.destroy(new Error(`no answer within ${REQUEST_MS} ms`)));
    request.on('error', reject);
    request.end(body);
  });
}

/** What `Cache-Status` (RFC 9211) says of us: `hit`, `fwd=…`, or nothing. */
const cacheStatus = (answer) => answer.fields.get('cache-status')?.join(', ') ?? '(no Cache-Status)';
// The site was not asked either, but the answer is that of a fill which has not quite ended: the next is a hit.
const isShared = (answer) => /;\s*collapsed\s*(;|,|$)/.test(cacheStatus(answer));
const isHit = (answer) => /;\s*hit\s*(;|,|$)/.test(cacheStatus(answer));

// Fields that say something about this one transfer, or that a cache adds or computes by itself.
const PER_TRANSFER = ['date', 'connection', 'keep-alive', 'transfer-encoding', 'age', 'via', 'cache-status'];
// Next tells of its own cache: HIT, MISS or STALE, and `x-nextjs-prerender` once or twice accordingly.
const OF_ITS_CACHE = ['x-nextjs-cache', 'x-nextjs-prerender'];
// A cache may add these where the site has none; where it has, they must be the site's.
const MAY_ADD = ['etag', 'accept-ranges', 'content-length'];
// What ours says of a stored page of which the site says nothing.
const ASK_EACH_TIME = 'public, max-age=0, must-revalidate';
// A 304 repeats these and need repeat no others (RFC 9110, 15.4.5): the client has them. Next repeats some of its own.
const IN_304 = ['cache-control', 'content-location', 'date', 'etag', 'expires', 'vary'];

function vary(answer) {
  const names = (answer.fields.get('vary') ?? []).join(',').toLowerCase().split(',');
  return [...new Set(names.map((name) => name.trim()).filter(Boolean))].filter((name) => name !== 'accept-encoding').sort().join(', ');
}

/** The first difference between the site's answer and ours, or nothing. */
function difference(bare, ours, { normalise = (bytes) => bytes } = {}) {
  if (bare.status !== ours.status) return `status ${ours.status} instead of ${bare.status} (${cacheStatus(ours)})`;
  if (!normalise(bare.bytes).equals(normalise(ours.bytes))) {
    return `other body: ${ours.bytes.length} bytes, sha ${sha(ours.bytes)}, instead of ${bare.bytes.length}, ${sha(bare.bytes)}`;
  }
  if (vary(bare) !== vary(ours)) return `vary: "${vary(ours)}" instead of "${vary(bare)}"`;
  for (const name of new Set([...bare.fields.keys(), ...ours.fields.keys()])) {
    if ([...PER_TRANSFER, ...OF_ITS_CACHE, 'vary', 'content-encoding'].includes(name)) continue;
    const [theirs, mine] = [bare.fields.get(name), ours.fields.get(name)];
    if (!theirs && (MAY_ADD.includes(name) || (name === 'cache-control' && mine.join() === ASK_EACH_TIME))) continue;
    if (!mine && ours.status === 304 && !IN_304.includes(name)) continue;
    // A hint (RFC 9110, 14.3), of which the answer that is still being stored says nothing; hits must.
    if (!mine && name === 'accept-ranges' && !isHit(ours)) continue;
    // A body of unknown length may be sent with or without one; its bytes were compared above.
    if (name === 'content-length' && (!mine || bare.fields.has('content-encoding') || ours.fields.has('content-encoding'))) continue;
    if (theirs?.join('\n') !== mine?.join('\n')) return `${name}: ${JSON.stringify(mine)} instead of ${JSON.stringify(theirs)}`;
  }
  return undefined;
}

const sha = (bytes) => createHash('sha256').update(bytes).digest('hex').slice(0, 8);

// --- Processes -----------------------------------------------------------------------------------------

const running = new Set();

function start(name, command, args, extra = {}) {
  const child = spawn(command, args, { cwd: app, env: { ...process.env, NEXT_TELEMETRY_DISABLED: '1', ...extra }, stdio: ['ignore', 'pipe', 'pipe'] });
  child.log = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      child.log = (child.log + data).slice(-20_000);
      if (options.verbose) process.stderr.write(String(data).replace(/^/gm, `[${name}] `));
    });
  }
  child.gone = new Promise((resolve) => child.on('close', (code, signal) => resolve(signal ?? code)));
  child.on('error', (error) => { child.log += error; });
  running.add(child);
  child.gone.then(() => running.delete(child));
  child.label = name;
  return child;
}

async function stop(child, wait = 10_000) {
  if (!child || !running.has(child)) return child?.gone;
  child.kill('SIGTERM');
  const late = setTimeout(() => child.kill('SIGKILL'), wait);
  const code = await child.gone;
  clearTimeout(late);
  return code;
}

async function listening(child, port) {
  for (let i = 0; i < 300; i += 1) {
    if (!running.has(child)) break;
    const open = await new Promise((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false)).on('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`${child.label} does not listen on port ${port}:\n${child.log}`);
}

/** A free port below the range that outgoing connections use. */
async function freePort() {
  for (let i = 0; i < 100; i += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise((resolve) => {
      const server = net.createServer().on('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
  throw new Error('no free port');
}

// --- The story -----------------------------------------------------------------------------------------

async function learn(bare) {
  const home = await ask(bare, { path: '/', headers: DOCUMENT });
  const html = home.bytes.toString();
  const unescape = (text) => text.replaceAll('&amp;', '&');
  const manifest = JSON.parse(readFileSync(path.join(app, '.next/server/server-reference-manifest.json'), 'utf8'));
  return {
    etag: home.fields.get('etag')[0],
    assets: [...new Set(html.match(/\/_next\/static\/[^"\\]+\.(?:js|css)/g))],
    image: unescape(html.match(/src="(\/_next\/image[^"]+)"/)[1]),
    icon: unescape(html.match(/href="(\/icon\.png[^"]*)"/)[1]),
    action: Object.keys(manifest.node)[0],
  };
}

/** Asks the site, then us twice, and compares; true when the last answer was a hit. */
async function compare(bare, ours, item) {
  const expected = await ask(bare, item);
  item.expected = expected;
  check(`${item.name}, the site itself`, item.status && expected.status !== item.status ? `status ${expected.status} instead of ${item.status}` : undefined);
  let answer;
  for (let visit = 1; visit <= (item.visits ?? 2); visit += 1) {
    answer = await ask(ours, item);
    item.visitedAt ??= Date.now();
    check(`${item.name}, visit ${visit}`, difference(expected, answer, item), cacheStatus(answer));
  }
  if (dryRun) return false;
  if (isShared(answer)) answer = await ask(ours, item);
  const hit = isHit(answer);
  if (item.expect === 'hit') check(`${item.name}, a hit`, hit ? undefined : cacheStatus(answer));
  if (item.expect === 'pass') check(`${item.name}, not stored`, hit ? cacheStatus(answer) : undefined);
  return hit;
}

/** Without the site: the same answer as when it ran. */
async function again(ours, item, when) {
  const outlived = item.lifetime && Date.now() - item.visitedAt > item.lifetime - 2000;
  if (outlived) return;
  let answer = await ask(ours, item);
  if (isShared(answer)) answer = await ask(ours, item);
  const problem = difference(item.expected, answer, item) ?? (isHit(answer) ? undefined : cacheStatus(answer));
  check(`${item.name}, ${when}`, problem);
}

/** A post that succeeded is followed by asking the site again, once (RFC 9111, 4.4). */
async function afterPost(ours, items, when) {
  for (const item of items) {
    const first = await ask(ours, item);
    check(`${item.name}, ${when}: the site is asked`, difference(item.expected, first, item) ?? (isHit(first) ? cacheStatus(first) : undefined), cacheStatus(first));
    await again(ours, item, `${when}: a hit again`);
  }
}

const pathOf = (item) => item.path.split('?')[0];

async function main() {
  const work = mkdtempSync(path.join(tmpdir(), 'phantom-frame-nextjs-'));
  process.on('exit', () => rmSync(work, { recursive: true, force: true }));
  const [sitePort, port, controlPort] = [await freePort(), await freePort(), await freePort()];
  const [bare, ours, control] = [sitePort, dryRun ? sitePort : port, controlPort].map((number) => `http://127.0.0.1:${number}`);
  const next = createRequire(path.join(app, 'package.json')).resolve('next/dist/bin/next');
  const startSite = async () => {
    const child = start('next', process.execPath, [next, 'start', '-H', '127.0.0.1', '-p', String(sitePort)]);
    await listening(child, sitePort);
    return child;
  };
  const startOurs = async () => {
    const flags = ['--backend', bare, '--bind', '127.0.0.1', '--port', port, '--control-port', controlPort, '--snapshots', path.join(work, 'snapshots')];
    const child = start('phantom-frame', path.resolve(options.binary), ['serve', ...flags.map(String)]);
    await listening(child, port);
    return child;
  };

  let site = await startSite();
  let proxy = dryRun ? undefined : await startOurs();
  const list = cases(await learn(bare));
  const hits = [];
  for (const item of list) {
    try {
      if (await compare(bare, ours, item)) hits.push(item);
    } catch (error) {
      check(item.name, error.message);
    }
  }
  // `cases` ends with posts to /contact, and so does the walk.
  const contact = hits.filter((item) => pathOf(item) === '/contact');
  if (!dryRun) await afterPost(ours, contact, 'after a post');
  if (options.browser) await walk(ours, 'with the site running');
  if (dryRun) return;
  if (options.browser) await afterPost(ours, contact, 'after the walk');
  // So that they outlive what comes next, however slow the machine.
  const young = hits.filter(({ lifetime }) => lifetime);
  for (const target of new Set(young.map(pathOf))) await ask(control, { path: `/refresh-cache?pattern=${target}`, method: 'POST' });
  for (const item of young) {
    item.visitedAt = Date.now();
    await ask(ours, item);
    await again(ours, item, 'rendered again: a hit');
  }

  await stop(site);
  // Pages that are not there are held in memory only, so a restart forgets them.
  const missing = hits.filter(({ expected }) => expected.status === 404);
  for (const item of missing) await again(ours, item, 'the site stopped');
  const code = await stop(proxy);
  check('phantom-frame ends with 0 on SIGTERM', code === 0 ? undefined : `it ended with ${code}`);
  proxy = await startOurs();
  check('something was a hit', hits.length ? undefined : 'nothing');
  const kept = hits.filter((item) => !missing.includes(item));
  for (const item of kept) await again(ours, item, 'after the restart, the site stopped');
  for (const item of missing) {
    const answer = await ask(ours, item);
    check(`${item.name}, after the restart, the site stopped, is not known`, [502, 504].includes(answer.status) ? undefined : `status ${answer.status}`);
  }
  for (const item of list.filter(({ expect }) => expect === 'fresh')) {
    const answer = await ask(ours, item);
    check(`${item.name}, after the restart, the site stopped`, difference(item.expected, answer));
  }
  const down = await ask(ours, { path: '/dynamic', headers: DOCUMENT });
  check('GET /dynamic, the site stopped, is a gateway error', [502, 504].includes(down.status) ? undefined : `status ${down.status}`);
  if (options.browser) await walk(ours, 'with the site stopped');

  const purge = await ask(control, { path: '/refresh-cache?pattern=/blog/hello', method: 'POST' });
  const removed = Number(/"removed"\s*:\s*(\d+)/.exec(purge.bytes.toString())?.[1] ?? 0);
  check('POST /refresh-cache?pattern=/blog/hello', purge.status === 200 && removed >= 1 ? undefined : `${purge.status} ${purge.bytes}`);
  const isGone = (item) => pathOf(item) === '/blog/hello';
  for (const item of kept.filter(isGone)) {
    const answer = await ask(ours, item);
    check(`${item.name}, gone after /refresh-cache`, [502, 504].includes(answer.status) ? undefined : `status ${answer.status} (${cacheStatus(answer)})`);
  }
  for (const item of kept.filter((other) => !isGone(other))) await again(ours, item, 'still there after /refresh-cache');

  site = await startSite();
  const page = list.find(({ name }) => name === 'GET /blog/hello');
  const back = await ask(ours, page);
  check('GET /blog/hello, rendered again', difference(page.expected, back) ?? (isHit(back) ? cacheStatus(back) : undefined));
  await again(ours, page, 'a hit again');
  await stop(proxy);
  await stop(site);
}

/**
 * Waits until for half a second no answer has been outstanding. Not Playwright's `networkidle`: that waits for the end
 * of bodies, and Next reads no body of a prefetch that failed.
 */
function whenQuiet(page) {
  const outstanding = new Set();
  let last = Date.now();
  const moved = (request, begins) => {
    outstanding[begins ? 'add' : 'delete'](request);
    last = Date.now();
  };
  page.on('request', (request) => moved(request, true));
  page.on('response', (response) => moved(response.request(), false));
  page.on('requestfailed', (request) => moved(request, false));
  return async () => {
    const limit = Date.now() + REQUEST_MS;
    last = Date.now();
    while (outstanding.size || Date.now() - last < 500) {
      if (Date.now() > limit) throw new Error(`no answer to ${[...outstanding].map((request) => request.url()).join(', ')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
}

/** A visitor: from page to page without loading a document again, and without an error on the console. */
async function walk(base, when) {
  const { chromium } = createRequire(path.join(app, 'package.json'))('playwright-core');
  const browser = await chromium.launch({ executablePath: options.browser, args: ['--no-sandbox', '--disable-background-networking'] });
  const withSite = when.endsWith('running');
  try {
    for (const visit of [1, 2]) {
      const errors = [];
      const context = await browser.newContext();
      const page = await context.newPage();
      page.setDefaultTimeout(REQUEST_MS);
      // Prefetches of pages that are rendered for each request fail while the site is stopped: not an error of the page.
      page.on('console', (message) => { if (message.type() === 'error' && (withSite || !/status of 50[24]/.test(message.text()))) errors.push(message.text()); });
      page.on('pageerror', (error) => errors.push(String(error)));
      const quiet = whenQuiet(page);
      const steps = [['Hello', 'Hello'], ['Second', 'Second post'], ['Isr', 'Isr'], ['Contact', 'Contact'], ['Home', 'Home']];
      if (withSite) steps.splice(2, 0, ['Dynamic', 'Dynamic'], ['Personal', 'Good day, stranger']);
      let problem;
      try {
        await page.goto(`${base}/`);
        await quiet();
        await page.evaluate(() => { window.sameDocument = true; });
        for (const [link, title] of steps) {
          await page.click(`nav >> text="${link}"`);
          await page.waitForSelector(`h1:text-is("${title}")`);
          await quiet();
        }
        if (!(await page.evaluate(() => window.sameDocument))) problem = 'a click loaded a document';
        if (withSite && !problem) {
          await page.click('nav >> text="Contact"');
          await page.fill('input[name=name]', 'Ada');
          await page.click('button');
          await page.waitForSelector('h1:text-is("Good day, Ada")');
        }
      } catch (error) {
        problem = error.message.split('\n')[0];
      }
      check(`browser, visit ${visit}, ${when}`, problem ?? (errors.length ? `console: ${errors.join(' | ')}` : undefined));
      await context.close();
    }
  } finally {
    await browser.close();
  }
}

function finish(code) {
  for (const child of running) child.kill('SIGKILL');
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(code);
}

setTimeout(() => { console.log(`FAIL  not done within ${LIMIT_MS / 1000} s`); failed += 1; finish(1); }, LIMIT_MS).unref();
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => finish(1));
main().then(
  () => finish(failed ? 1 : 0),
  (error) => {
    console.error(`error: ${error.stack}`);
    finish(2);
  },
);
