// The tests themselves, run by the package's own client, and what became of each.

import { pathToFileURL } from 'node:url';
import path from 'node:path';
import more from './more.mjs';
import { InterimAgent } from './origin.mjs';

const AT_ONCE = 100;
const REQUEST_LIMIT_MS = 30_000;

const load = (...parts) => import(pathToFileURL(path.resolve(...parts)));

export class Suite {
  /** Of the package alone, without more.mjs, where `extra` is empty. */
  static async load(folder, fetchFolder, extra = more) {
    const { default: groups } = await load(folder, 'tests/index.mjs');
    const client = await load(folder, 'client/test.mjs');
    // One module for all runs of a process.
    for (const id of Object.keys(client.testResults)) delete client.testResults[id];
    const config = await load(folder, 'client/config.mjs');
    const { default: fetch } = await load(fetchFolder, 'lib/index.js');
    return new Suite([...groups, ...extra], { folder, client, config, fetch });
  }

  constructor(groups, parts) {
    Object.assign(this, parts);
    this.groups = groups;
    this.tests = new Map();
    for (const group of groups) {
      for (const test of group.tests) if (!test.browser_only) this.tests.set(test.id, test);
    }
    this.agent = new InterimAgent();
  }

  ids() {
    return [...this.tests.keys()];
  }

  name(id) {
    return this.tests.get(id).name.replaceAll(/\s+/g, ' ');
  }

  kind(id) {
    return this.tests.get(id).kind ?? 'required';
  }

  isOurs(id) {
    return this.groups.some((group) => group.ours && group.tests.some((test) => test.id === id));
  }

  against(address) {
    this.config.setBaseUrl(address);
    this.config.setUseBrowserCache(false);
    this.config.setFetch((url, init) => this.fetch(url, { ...init, agent: this.agent, timeout: REQUEST_LIMIT_MS }));
  }

  async run(ids, manner) {
    const waiting = [...ids];
    const worker = async () => {
      for (let id = waiting.shift(); id !== undefined; id = waiting.shift()) {
        delete this.client.testResults[id];
        // The client writes into the tests: dates, for one.
        const test = structuredClone(this.tests.get(id));
        if (manner === 'aloud') test.dump = true;
        await this.client.makeCacheTest(test);
        this.judgeInterim(test);
      }
    };
    const log = console.log;
    // The origin talks of every request that it did not expect.
    if (manner === 'quietly') console.log = () => {};
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    console.log = log;
  }

  /** What the package's client does not look at. */
  judgeInterim(test) {
    test.requests.forEach((request, index) => {
      if (!request.expected_interim || this.client.testResults[test.id] !== true) return;
      const wanted = JSON.stringify(request.expected_interim);
      const seen = JSON.stringify(this.agent.seen(test.id, index + 1));
      if (seen !== wanted) {
        this.client.testResults[test.id] = ['Assertion', `Interim answers ${index + 1} are ${seen}, not ${wanted}`];
      }
    });
  }

  /** By the package's own rules: what a test depends on comes first, then whether it could be set up. */
  outcome(id) {
    return judge(this.tests, this.client.testResults, id);
  }

  message(id) {
    const result = this.client.testResults[id];
    return result === true || result === undefined ? '' : result[1];
  }

  outcomes(only) {
    const ids = only ?? this.ids();
    return Object.fromEntries(ids.map((id) => [id, { outcome: this.outcome(id), message: this.message(id) }]));
  }

  counts() {
    const results = this.client.testResults;
    return count(this.groups.filter((group) => !group.ours), this.tests, results);
  }
}

export function judge(tests, results, id) {
  const result = results[id];
  const test = tests.get(id);
  if (result === undefined || test === undefined) return 'untested';
  for (const other of test.depends_on ?? []) {
    if (judge(tests, results, other) !== 'pass') return 'dependency';
  }
  if (result === true) return 'pass';
  if (result[0] === 'Setup') return result[1] === 'retry' ? 'retry' : 'setup';
  return test.kind === 'check' ? 'no' : 'fail';
}

/** How many of each kind were passed. Tests for browsers do not count. */
export function count(groups, tests, results) {
  const counts = {};
  for (const { id, kind = 'required', browser_only } of groups.flatMap((group) => group.tests)) {
    if (browser_only) continue;
    counts[kind] ??= { passed: 0, all: 0 };
    counts[kind].all += 1;
    if (judge(tests, results, id) === 'pass') counts[kind].passed += 1;
  }
  return counts;
}
