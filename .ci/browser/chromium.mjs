// Drives Chromium over the pipe of its debugging protocol: nothing but Node's own modules, no port, no package.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const WAIT_MS = 20_000;
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks until the answer is neither undefined nor false; `what` is for the error. */
export async function until(what, question) {
  const deadline = Date.now() + WAIT_MS;
  let last;
  for (;;) {
    try {
      const answer = await question();
      if (answer !== undefined && answer !== false && answer !== null) return answer;
      last = answer;
    } catch (error) {
      // A page on its way to the next has nobody to ask.
      last = error.message;
    }
    if (Date.now() > deadline) throw new Error(`waited ${WAIT_MS / 1000} s for ${what} (${last})`);
    await pause(20);
  }
}

export class Browser {
  #process;
  #profile = mkdtempSync(path.join(tmpdir(), 'chromium-'));
  #calls = new Map();
  #tabs = new Map();
  #last = 0;

  constructor(executable) {
    const flags = [
      '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--mute-audio',
      '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
      '--remote-debugging-pipe', `--user-data-dir=${this.#profile}`, '--window-size=1280,900', 'about:blank',
    ];
    this.#process = spawn(executable, flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
    this.#process.on('error', (error) => this.#end(error));
    this.#process.on('exit', () => this.#end(new Error('Chromium has ended')));
    this.#process.stdio[3].on('error', () => {});
    let rest = Buffer.alloc(0);
    this.#process.stdio[4].on('data', (data) => {
      rest = Buffer.concat([rest, data]);
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        this.#hear(JSON.parse(rest.subarray(0, end)));
        rest = rest.subarray(end + 1);
      }
    });
  }

  #hear({ id, result, error, method, params, sessionId }) {
    if (!id) return this.#tabs.get(sessionId)?.hear(method, params);
    const { resolve, reject } = this.#calls.get(id);
    this.#calls.delete(id);
    if (error) reject(new Error(error.message));
    else resolve(result);
  }

  #end(error) {
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  call(method, params = {}, sessionId = undefined) {
    const id = ++this.#last;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject });
      this.#process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    });
  }

  /** A visitor: cookies and cache of their own. */
  async visitor(base) {
    const { browserContextId } = await this.call('Target.createBrowserContext');
    return { base, browserContextId, tab: () => this.#open(base, browserContextId) };
  }

  async #open(base, browserContextId) {
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const tab = new Tab(base, (method, params) => this.call(method, params, sessionId));
    this.#tabs.set(sessionId, tab);
    for (const domain of ['Page', 'Network', 'Runtime', 'Log']) await tab.call(`${domain}.enable`);
    return tab;
  }

  async close() {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    this.call('Browser.close').catch(() => {});
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), 5000);
    await ended;
    clearTimeout(timer);
    try {
      rmSync(this.#profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    } catch {
      // One of its processes still writes; it is in the directory for temporary files.
    }
  }
}

/** One tab, with what went over the wire for it. */
class Tab {
  /** Requests in their order: `{ id, method, path, type, status, fields }`; without a status none came by network. */
  requests = [];
  /** Errors on the page's console, exceptions, and requests that failed. */
  complaints = [];
  sockets = [];

  constructor(base, call) {
    this.base = base;
    this.call = call;
  }

  /** What was sent and received for a request, in the order of its redirects; it may be told before the request. */
  #wire = new Map();

  #told(id, what, value) {
    const wire = this.#wire.get(id) ?? { sent: [], received: [] };
    this.#wire.set(id, wire);
    if (value) wire[what].push(value);
    const hops = this.requests.filter((request) => request.id === id);
    hops.forEach((hop, n) => Object.assign(hop, wire.received[n], { sent: wire.sent[n] }));
  }

  hear(method, params) {
    const lower = (headers) => Object.fromEntries(Object.entries(headers).map(([k, v]) => [k.toLowerCase(), v]));
    switch (method) {
      case 'Network.requestWillBeSent': {
        const { url, method: verb } = params.request;
        if (!url.startsWith(this.base)) return;
        this.requests.push({ id: params.requestId, method: verb, path: url.slice(this.base.length) });
        this.#told(params.requestId);
        break;
      }
      case 'Network.requestWillBeSentExtraInfo':
        this.#told(params.requestId, 'sent', lower(params.headers));
        break;
      // What was received, before the browser's own cache made a 200 of a 304.
      case 'Network.responseReceivedExtraInfo':
        this.#told(params.requestId, 'received', { status: params.statusCode, fields: lower(params.headers) });
        break;
      case 'Network.webSocketHandshakeResponseReceived':
        this.sockets.push(params.response);
        break;
      case 'Network.loadingFailed':
        // What the page itself broke off by going away.
        if (!params.canceled) {
          const failed = this.requests.findLast(({ id }) => id === params.requestId);
          this.complaints.push(`${failed?.path}: ${params.errorText}`);
        }
        break;
      case 'Runtime.exceptionThrown':
        this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
        break;
      case 'Runtime.consoleAPICalled':
        if (params.type === 'error') this.complaints.push(params.args.map(({ value }) => value).join(' '));
        break;
      case 'Log.entryAdded':
        if (params.entry.level === 'error') this.complaints.push(`${params.entry.url}: ${params.entry.text}`);
        break;
      default:
    }
  }

  /** The value of an expression on the page; a promise is awaited. */
  async see(expression) {
    const options = { expression, awaitPromise: true, returnByValue: true, userGesture: true };
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', options);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  shows(expression) {
    return until(expression, () => this.see(expression));
  }

  text(selector) {
    return this.see(`document.querySelector(${JSON.stringify(selector)})?.textContent.trim() ?? ''`);
  }

  /** Goes there, by address; ends when everything is loaded. */
  async open(path) {
    await this.see('window.left = true');
    const { errorText } = await this.call('Page.navigate', { url: this.base + path });
    if (errorText) throw new Error(`${path}: ${errorText}`);
    await this.loaded();
  }

  /** Until another document than the one that was marked is there. */
  loaded() {
    return this.shows(`!window.left && document.readyState === 'complete' && location.href !== 'about:blank'`);
  }

  async leaveBy(action) {
    await this.see('window.left = true');
    await action();
    await this.loaded();
  }

  /** Clicks a link or a button that leads to another page. */
  follow(selector) {
    return this.leaveBy(() => this.click(selector));
  }

  async click(selector) {
    await this.shows(`Boolean(document.querySelector(${JSON.stringify(selector)}))`);
    await this.see(`document.querySelector(${JSON.stringify(selector)}).click()`);
  }

  fill(selector, text) {
    return this.see(`document.querySelector(${JSON.stringify(selector)}).value = ${JSON.stringify(text)}; true`);
  }

  /** Back or forward, until that address is shown; a page of the back/forward cache keeps its marks. */
  async travel(steps, path) {
    await this.back(-steps);
    await this.shows(`location.pathname === ${JSON.stringify(path)} && document.readyState === 'complete'`);
  }

  async back(steps = 1) {
    // The page may be gone before it has answered.
    await this.see(`setTimeout(() => history.go(${-steps})); true`);
  }

  reload(ignoreCache) {
    return this.leaveBy(() => this.call('Page.reload', { ignoreCache }));
  }

  /** The latest answer to this that came by network, after `since` requests. */
  answer(method, path, since = 0) {
    const found = ({ method: verb, path: target, status }) => verb === method && target === path && status;
    return until(`an answer to ${method} ${path}`, () => this.requests.slice(since).findLast(found));
  }

  async picture(file) {
    const { data } = await this.call('Page.captureScreenshot');
    writeFileSync(file, Buffer.from(data, 'base64'));
  }
}
