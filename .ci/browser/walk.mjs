// Walks through the demo with a real browser, and looks at what went over the wire.
//
//   node walk.mjs --binary PATH --browser /usr/bin/chromium [--pictures DIR]
//
// Prints a line for each step, then `N passed, N failed`; exit 0 when none failed, 1 otherwise, 2 when it could not
// run. Nothing but Node's own modules.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { Browser, until } from './chromium.mjs';

const { values: options } = parseArgs({
  options: { binary: { type: 'string' }, browser: { type: 'string' }, pictures: { type: 'string' } },
});
if (!options.binary || !options.browser) {
  console.error('error: --binary PATH and --browser PATH are needed');
  process.exit(2);
}
const LIMIT_MS = 240_000;
const BELL_BYTES = 256_044;

// --- The demo ------------------------------------------------------------------------------------------

const work = mkdtempSync(path.join(tmpdir(), 'walk-'));
const snapshots = path.join(work, 'snapshots');
const demo = spawn(options.binary, ['demo', '--port', '0', '--dir', snapshots], { stdio: ['ignore', 'inherit', 'pipe'] });
let browser;

async function end(code) {
  await browser?.close().catch(() => {});
  const ended = new Promise((resolve) => demo.once('exit', resolve));
  if (demo.exitCode === null && demo.kill()) await ended;
  rmSync(work, { recursive: true, force: true, maxRetries: 20 });
  process.exit(code);
}
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => end(2));
setTimeout(() => {
  console.error(`error: not done after ${LIMIT_MS / 1000} s`);
  end(1);
}, LIMIT_MS).unref();

function address() {
  return new Promise((resolve, reject) => {
    demo.once('error', reject);
    demo.once('exit', (code) => reject(new Error(`the demo has ended (${code})`)));
    createInterface({ input: demo.stderr }).on('line', (line) => {
      const found = /(http:\/\/[^/\s]+)\/_phantom\//.exec(line);
      if (found) resolve(found[1]);
    });
  });
}

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

function holds(condition, what) {
  if (!condition) throw new Error(what);
}

// --- What became of a request --------------------------------------------------------------------------

const HIT = /^phantom-frame;hit(;ttl=\d+)?$/;
const STORED = /^phantom-frame;fwd=uri-miss(;ttl=\d+)?;stored$/;
const FETCHED_ANEW = /^phantom-frame;fwd=(stale|uri-miss);stored$/;
const OF_ALICE = /^phantom-frame;fwd=bypass;detail=cookie$/;
const OF_METHOD = /^phantom-frame;fwd=method;detail=method$/;
// A redirect to the sign-in says nothing of being kept.
const NOT_KEPT = /^phantom-frame;fwd=[a-z-]+;detail=status$/;
// A page's fill does not ask for an event stream.
const NO_PAGE = /^phantom-frame;fwd=bypass;detail=accept$/;

/** The latest answer to a request of this tab, with that status, and that fate. */
async function became(tab, target, status, fate, { method = 'GET', since = 0 } = {}) {
  const answer = await tab.answer(method, target, since);
  const line = `${method} ${target}: ${answer.status} ${answer.fields['cache-status']}`;
  if (answer.status !== status || !fate.test(answer.fields['cache-status'] ?? '')) throw new Error(line);
  return answer;
}

const quiet = (tab) => equal(tab.complaints.splice(0), [], 'complaints of the browser');

// --- The walk ------------------------------------------------------------------------------------------

const pictures = options.pictures && path.resolve(options.pictures);
if (pictures) mkdirSync(pictures, { recursive: true });
const picture = async (tab, name) => pictures && tab.picture(path.join(pictures, `${name}.png`));

const ASSETS = [
  ['/assets/site.css', 'text/css; charset=utf-8'],
  ['/assets/mark.svg', 'image/svg+xml'],
  ['/assets/ridge.svg', 'image/svg+xml'],
];

async function browse(one, another) {
  const tab = await one.tab();
  await step('the first visitor of a page has it rendered, with style and pictures', async () => {
    await tab.open('/');
    await became(tab, '/', 200, STORED);
    for (const [asset, type] of ASSETS) {
      const { fields } = await became(tab, asset, 200, STORED);
      equal(fields['content-type'], type, asset);
    }
    equal(await tab.text('h1'), 'Above the fog,below the stars.', 'heading');
    holds(await tab.see('[...document.images].every((image) => image.naturalWidth > 0)'), 'a picture is missing');
    holds(await tab.see('document.styleSheets[0].cssRules.length > 10'), 'the style is missing');
    await picture(tab, 'home');
    quiet(tab);
  });

  await step('the second visitor has all of it from files', async () => {
    const second = await another.tab();
    await second.open('/');
    for (const target of ['/', ...ASSETS.map(([asset]) => asset)]) await became(second, target, 200, HIT);
    equal(await second.text('h1'), await tab.text('h1'), 'heading');
    quiet(second);
  });

  await step('links lead from page to page', async () => {
    for (const [link, heading, target] of [
      ['nav a[href="/journal"]', 'Journal', '/journal'],
      ['a[href="/journal/first-snow"]', 'First snow on the terrace', '/journal/first-snow'],
      ['nav a[href="/about"]', 'The hut', '/about'],
    ]) {
      await tab.follow(link);
      await became(tab, target, 200, STORED);
      equal(await tab.text('h1'), heading, 'heading');
    }
    quiet(tab);
  });

  await step('back and forward show each page again', async () => {
    const seen = [];
    for (const [steps, target, heading] of [
      [-1, '/journal/first-snow', 'First snow on the terrace'],
      [-1, '/journal', 'Journal'],
      [-1, '/', 'Above the fog,below the stars.'],
      [2, '/journal/first-snow', 'First snow on the terrace'],
    ]) {
      await tab.travel(steps, target);
      equal(await tab.text('h1'), heading, target);
      seen.push(await tab.see('window.left ? "kept by the browser" : "loaded"'));
    }
    quiet(tab);
    return seen.join(', ');
  });

  await step('a reload is a conditional request, and a 304 from the file', async () => {
    await tab.open('/journal');
    const since = tab.requests.length;
    await tab.reload(false);
    const { sent, fields } = await became(tab, '/journal', 304, HIT, { since });
    holds(sent['if-none-match'] && sent['if-none-match'] === fields.etag, `If-None-Match ${sent['if-none-match']}, ETag ${fields.etag}`);
    equal(await tab.text('h1'), 'Journal', 'heading');
    quiet(tab);
  });

  await step('a hard reload is a whole page from the file, with all that belongs to it', async () => {
    const since = tab.requests.length;
    await tab.reload(true);
    const { sent } = await became(tab, '/journal', 200, HIT, { since });
    equal(sent['if-none-match'], undefined, 'If-None-Match');
    await became(tab, '/assets/site.css', 200, HIT, { since });
    quiet(tab);
  });

  await step('an old address redirects, and the redirect is kept', async () => {
    await tab.open('/old');
    equal(await tab.see('location.pathname'), '/journal', 'address');
    await became(tab, '/old', 301, STORED);
    const second = await another.tab();
    await second.open('/old');
    await became(second, '/old', 301, HIT);
    quiet(tab);
    quiet(second);
  });

  await step('what is not there is a page that says so, remembered without a file', async () => {
    await tab.open('/no-such-path');
    equal(await tab.text('h1'), 'No path here', 'heading');
    await tab.open('/no-such-path');
    await became(tab, '/no-such-path', 404, HIT);
    holds(!files().some((file) => file.includes('no-such-path')), 'a file was made of it');
    // The browser notes the status of a page on its console.
    const others = tab.complaints.splice(0).filter((text) => !/no-such-path: .*404/.test(text));
    equal(others, [], 'complaints of the browser');
  });

  await step('a page that takes its time arrives in pieces, and at once from its file', async () => {
    await tab.see(`window.left = true; location.href = '/slow'; true`);
    await tab.shows(`location.pathname === '/slow' && document.querySelectorAll('.peaks li').length > 0`);
    const first = await tab.see(`document.querySelectorAll('.peaks li').length`);
    await tab.loaded();
    equal(await tab.see(`document.querySelectorAll('.peaks li').length`), 8, 'peaks');
    await became(tab, '/slow', 200, STORED);
    const second = await another.tab();
    await second.open('/slow');
    await became(second, '/slow', 200, HIT);
    quiet(tab);
    return `${first} of 8 when it was first seen`;
  });
}

const files = () => readdirSync(snapshots, { recursive: true }).map(String);
const stored = () => files().map((file) => path.join(snapshots, file)).filter((file) => /\.\w+$/.test(file) && !file.includes('.phantom'));

async function sign(one, another) {
  await step('the guestbook shows an entry right after it was signed, to everybody', async () => {
    const [tab, second] = [await one.tab(), await another.tab()];
    await second.open('/guestbook');
    await second.open('/guestbook');
    await tab.open('/guestbook');
    const since = tab.requests.length;
    await tab.fill('[name=name]', 'Ada <b>');
    await tab.fill('[name=message]', 'It said “& was dry”.');
    await tab.follow('main form button');
    await became(tab, '/guestbook', 303, OF_METHOD, { method: 'POST', since });
    await became(tab, '/guestbook', 200, FETCHED_ANEW, { since });
    equal(await tab.text('.entries li p'), 'It said “& was dry”.', 'first entry');
    equal(await tab.text('.entries li .over'), 'Ada <b>', 'its name');
    const before = second.requests.length;
    await second.reload(false);
    await became(second, '/guestbook', 200, HIT, { since: before });
    equal(await second.text('.entries li p'), 'It said “& was dry”.', 'first entry for another visitor');
    await picture(tab, 'guestbook');
    quiet(tab);
    quiet(second);
  });
}

/** Signs in as somebody, by the form, from wherever the tab is. */
async function signIn(tab, name) {
  await tab.open('/account');
  equal(await tab.see('location.pathname'), '/login', 'address');
  await tab.fill('[name=name]', name);
  await tab.follow('main form button');
  equal(await tab.text('h1'), `Hello, ${name}`, 'heading');
}

async function signInAndOut(one, another) {
  const [tab, other] = [await one.tab(), await another.tab()];
  await step('who signs in has pages of her own, and nobody else has them', async () => {
    await other.open('/account');
    equal(await other.text('h1'), 'Your stay', 'heading for a stranger');
    let since = tab.requests.length;
    await signIn(tab, 'Alice');
    await became(tab, '/login', 303, OF_METHOD, { method: 'POST', since });
    await became(tab, '/account', 200, OF_ALICE, { since });
    since = tab.requests.length;
    await tab.open('/journal');
    await became(tab, '/journal', 200, OF_ALICE, { since });
    since = other.requests.length;
    await other.open('/account');
    equal(await other.text('h1'), 'Your stay', 'heading for a stranger');
    await became(other, '/account', 303, NOT_KEPT, { since });
    await other.open('/journal');
    // The browser has it from before.
    await became(other, '/journal', 304, HIT, { since });
    await picture(tab, 'account');
    quiet(tab);
    quiet(other);
  });

  await step('back and forward show her page while she is signed in', async () => {
    // Kept whole by the browser, it asks for itself again: there may be nobody in it for a moment.
    const greets = () => tab.shows(`document.querySelector('h1')?.textContent === 'Hello, Alice'`);
    await tab.travel(-1, '/account');
    await greets();
    await tab.shows('!window.left');
    await tab.travel(1, '/journal');
    await tab.travel(-1, '/account');
    await greets();
    quiet(tab);
  });

  await step('after she has signed out her page is nobody’s, by address, back and forward too', async () => {
    const since = tab.requests.length;
    await tab.follow('a[href="/logout"]');
    equal(await tab.see('location.pathname'), '/', 'address');
    await became(tab, '/logout', 303, OF_ALICE, { since });
    await became(tab, '/', 200, HIT, { since });
    await tab.back();
    await tab.shows(`location.pathname !== '/' && document.querySelector('h1')?.textContent === 'Your stay'`);
    await tab.open('/account');
    equal(await tab.see('location.pathname'), '/login', 'address');
    quiet(tab);
  });

  await step('who signs in next, in the same browser, never sees her page', async () => {
    await signIn(tab, 'Bob');
    const length = await tab.see('history.length');
    for (let steps = 1; steps < length; steps += 1) {
      const before = await tab.see('location.href + performance.timeOrigin');
      await tab.back();
      await until('the page before', async () => {
        const there = await tab.see(`document.readyState === 'complete' && location.href + performance.timeOrigin`);
        return there && there !== before;
      });
      const shown = await tab.see('document.body?.textContent ?? ""');
      holds(!shown.includes('Alice'), `Alice is on ${await tab.see('location.href')}`);
    }
    quiet(tab);
    return `${length} pages of history`;
  });

  await step('no file has heard of Alice, of Bob, or of a session', () => {
    for (const file of stored()) {
      const text = readFileSync(file, 'latin1');
      holds(!/Alice<|Hello, |Bob|hut_session/.test(text), file);
    }
    return `${stored().length} files`;
  });
}

async function talk(one) {
  const tab = await one.tab();
  await step('a WebSocket echoes through the proxy', async () => {
    await tab.open('/echo');
    await tab.shows(`document.querySelector('[data-log]').textContent.includes('Connected')`);
    for (const text of ['halloo', 'grüezi']) {
      await tab.fill('form[data-echo] input', text);
      await tab.click('form[data-echo] button');
      await tab.shows(`document.querySelector('[data-log] li').textContent === '… ${text}'`);
    }
    equal(tab.sockets[0]?.status, 101, 'status');
    await picture(tab, 'echo');
    quiet(tab);
  });

  await step('readings of an event stream arrive one by one', async () => {
    await tab.open('/live');
    const counts = new Set();
    await until('the third reading', async () => {
      const count = await tab.see(`document.querySelectorAll('[data-log] li').length`);
      counts.add(count);
      return count >= 3;
    });
    holds(counts.has(1) && counts.has(2), `readings at once: ${[...counts]}`);
    const { fields } = await became(tab, '/events', 200, NO_PAGE);
    equal(fields['content-type'], 'text/event-stream', 'type');
    await picture(tab, 'live');
    // Away, and with the stream open.
    await tab.open('/about');
    quiet(tab);
  });
}

async function download(one, another) {
  const tab = await one.tab();
  let bell;
  await step('a link downloads a file', async () => {
    const downloads = path.join(work, 'downloads');
    const { browserContextId } = one;
    await browser.call('Browser.setDownloadBehavior', { behavior: 'allow', browserContextId, downloadPath: downloads });
    await tab.open('/about');
    await tab.click('a[download]');
    const file = path.join(downloads, 'bell.wav');
    bell = await until('the download', () => {
      const bytes = readFileSync(file);
      return bytes.length === BELL_BYTES && bytes;
    });
    holds(stored().some((name) => name.includes('bell.wav')), 'it is not stored');
    quiet(tab);
  });

  await step('a download that was broken off is resumed from the file by a range', async () => {
    const since = tab.requests.length;
    const [status, range, same] = await tab.see(`(async () => {
      const ask = (fields) => fetch('/assets/bell.wav', { headers: fields, cache: 'no-store' });
      const reader = (await ask({})).body.getReader();
      const start = (await reader.read()).value.slice(0, 1000);
      await reader.cancel();
      const rest = await ask({ Range: 'bytes=1000-', 'If-Range': '"eight-strokes"' });
      const whole = new Uint8Array(${BELL_BYTES});
      whole.set(start);
      whole.set(new Uint8Array(await rest.arrayBuffer()), 1000);
      let sum = 0;
      for (const byte of whole) sum = (sum * 31 + byte) % 1000003;
      return [rest.status, rest.headers.get('content-range'), sum];
    })()`);
    equal([status, range], [206, `bytes 1000-${BELL_BYTES - 1}/${BELL_BYTES}`], 'the rest');
    equal(same, bell.reduce((sum, byte) => (sum * 31 + byte) % 1000003, 0), 'the two parts together');
    await became(tab, '/assets/bell.wav', 206, HIT, { since });
    const other = await tab.see(`fetch('/assets/bell.wav', { cache: 'no-store', headers: { Range: 'bytes=1000-', 'If-Range': '"another"' } })
      .then(async (answer) => [answer.status, (await answer.arrayBuffer()).byteLength])`);
    equal(other, [200, BELL_BYTES], 'with the validator of another file');
    quiet(tab);
  });

  await step('a player seeks in it by ranges', async () => {
    const second = await another.tab();
    await second.open('/about');
    await second.shows(`document.querySelector('audio').readyState >= 1`);
    equal(await second.see(`document.querySelector('audio').duration`), 16, 'seconds');
    const at = await second.see(`new Promise((resolve, reject) => {
      const audio = document.querySelector('audio');
      audio.onerror = () => reject(audio.error);
      audio.onseeked = () => resolve(audio.currentTime);
      audio.currentTime = 12;
    })`);
    equal(at, 12, 'seconds');
    const { sent } = await became(second, '/assets/bell.wav', 206, HIT);
    await picture(second, 'about');
    quiet(second);
    return sent.range;
  });
}

async function useConsole(one) {
  const tab = await one.tab();
  const told = (text) => tab.shows(`document.querySelector('#story').textContent.includes(${JSON.stringify(text)})`);
  await step('the console tells what became of a page: kept, faster, edited, purged, and without its backend', async () => {
    await tab.open('/_phantom/?page=/journal/the-new-spring');
    await told('kept');
    for (const [button, text] of [
      ['#load', 'faster'],
      ['#edit', 'was edited'],
      ['#purge', 'gone'],
      ['#load', 'kept'],
      ['#load', 'the same bytes'],
      ['#toggle', 'The backend is down, the page is not.'],
      ['#purge-all', 'gone'],
      ['#load', 'there is no snapshot of this page'],
      ['#toggle', 'kept'],
    ]) {
      await tab.shows(`!document.querySelector('${button}').disabled`);
      await tab.click(button);
      await told(text);
    }
    quiet(tab);
  });

  await step('the console shows the directory and its files, and every page of its picker', async () => {
    // Not one of those that were purged, which may still be listed.
    await tab.click('#tree [data-path*="the-new-spring"][data-path$=".toml"]');
    await tab.shows(`document.querySelector('#file pre').textContent.startsWith('format = 1')`);
    await picture(tab, 'console');
    await tab.see(`document.querySelector('#file').close()`);
    const pages = await tab.see(`[...document.querySelector('#page').options].map((option) => option.value)`);
    for (const page of pages) {
      await tab.see(`{ const page = document.querySelector('#page'); page.value = '${page}'; page.onchange(); }`);
      await tab.shows(`!document.querySelector('#load').disabled`);
      const story = await tab.text('#story');
      holds(!story.includes('no answer'), `${page}: ${story}`);
    }
    holds(await tab.see(`document.querySelectorAll('#requests tr').length > 5`), 'requests are missing');
    await picture(tab, 'console-picker');
    quiet(tab);
    return `${pages.length} pages`;
  });
}

try {
  const base = await address();
  browser = new Browser(options.browser);
  const [one, another] = [await browser.visitor(base), await browser.visitor(base)];
  await browse(one, another);
  await sign(one, another);
  await signInAndOut(one, another);
  const [third, fourth] = [await browser.visitor(base), await browser.visitor(base)];
  await talk(third);
  await download(third, fourth);
  await useConsole(third);
} catch (error) {
  console.error(`error: ${error.message}`);
  await end(2);
}
console.log(`${passed} passed, ${failed} failed`);
await end(failed ? 1 : 0);
