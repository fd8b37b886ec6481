// Runs the public test suite of HTTP caches (cache-tests.fyi, on npm http-cache-tests) and the cases of more.mjs
// against the proxy, and compares what came out with expected.json.
//
//   node run.mjs --package DIR --fetch DIR --binary PATH [--mode transparent|default]... [--write]
//   node run.mjs … --only ID[,ID…]    these alone, with every request and response printed, compared with nothing
//   node run.mjs … --table            what README.md says of it: the figures beside those of other caches, and the list
//
// DIR: the unpacked npm packages http-cache-tests and node-fetch. Exit 0: as expected; 1: not so; 2: it could not run.
// --write takes what came out into expected.json and README.md, and keeps the reasons; a test that has none yet gets an
// empty one, which has to be filled in (and --write called again). Nothing but Node's own modules and those two packages.

import { parseArgs } from 'node:util';
import { Expected, readExpected, writeExpected } from './expected.mjs';
import { Origin } from './origin.mjs';
import { SETTINGS, Proxy } from './proxy.mjs';
import { Suite } from './suite.mjs';
import { Readme } from './table.mjs';

const LIMIT_MS = 240_000;
const AGAIN = 2;

const { values: options } = parseArgs({
  options: {
    package: { type: 'string' },
    fetch: { type: 'string' },
    binary: { type: 'string' },
    mode: { type: 'string', multiple: true },
    only: { type: 'string' },
    write: { type: 'boolean' },
    table: { type: 'boolean' },
    json: { type: 'boolean' },
  },
});
if (!options.package || !options.fetch || !options.binary) {
  console.error('error: --package DIR, --fetch DIR and --binary PATH are needed');
  process.exit(2);
}
const modes = options.mode ?? Object.keys(SETTINGS);
for (const mode of modes) {
  if (!(mode in SETTINGS)) {
    console.error(`error: there is no mode "${mode}"; there are ${Object.keys(SETTINGS).join(' and ')}`);
    process.exit(2);
  }
}

const running = new Set();

async function end(code) {
  await Promise.allSettled([...running].map((part) => part.stop()));
  process.exit(code);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(2));
for (const trouble of ['uncaughtException', 'unhandledRejection']) {
  process.on(trouble, (error) => {
    console.error(error);
    end(2);
  });
}
setTimeout(() => {
  console.error(`error: not done after ${LIMIT_MS / 1000} s`);
  end(2);
}, LIMIT_MS).unref();

/** What became of every test of the suite, by id. */
async function run(suite, mode, expected) {
  const origin = await Origin.start(suite);
  running.add(origin);
  const proxy = await Proxy.start(options.binary, mode, origin.address);
  running.add(proxy);
  suite.against(proxy.address);
  const only = options.only?.split(',');
  await suite.run(only ?? suite.ids(), only ? 'aloud' : 'quietly');
  // The tests count seconds. What differs is asked again while the machine is idle, and the last answer counts.
  for (let time = 0; time < AGAIN && expected; time++) {
    const odd = expected.differences(suite).map(({ id }) => id);
    if (odd.length === 0 || odd.length > suite.ids().length / 4) break;
    await suite.run(odd, 'quietly');
  }
  for (const part of [proxy, origin]) {
    await part.stop();
    running.delete(part);
  }
  return suite.outcomes(only);
}

const groups = readExpected();
const counts = {};
let code = 0;
for (const mode of modes) {
  const suite = await Suite.load(options.package, options.fetch);
  const expected = new Expected(groups, mode);
  const outcomes = await run(suite, mode, options.only || options.table ? undefined : expected);
  counts[mode] = suite.counts();
  if (options.json) console.log(JSON.stringify({ mode, outcomes }, null, 2));
  if (options.only) {
    for (const [id, { outcome, message }] of Object.entries(outcomes)) console.log(`${id}: ${outcome} ${message}`);
    continue;
  }
  const { required, optimal } = counts[mode];
  if (options.table) continue;
  console.log(`${mode}: ${required.passed} of ${required.all} required, ${optimal.passed} of ${optimal.all} optimal`);
  if (options.write) {
    expected.take(suite);
    continue;
  }
  const differences = expected.differences(suite);
  for (const { id, was, is, message } of differences) {
    const verdict = was === 'pass' ? 'REGRESSION' : is === 'pass' ? 'better than expected' : 'other than expected';
    console.log(`  ${verdict}: ${id}\n    expected ${was}, is ${is}${message && `: ${message}`}\n    ${suite.name(id)}`);
  }
  const unexplained = expected.unexplained();
  for (const id of unexplained) console.log(`  without a reason in expected.json: ${id}`);
  if (differences.length > 0 || unexplained.length > 0) code = 1;
}
if (options.write) writeExpected(groups);
if (!options.only && modes.length === Object.keys(SETTINGS).length) {
  const readme = await Readme.of(options.package, counts, groups, await Suite.load(options.package, options.fetch));
  if (options.table) console.log(readme.section);
  else if (options.write) readme.write();
  else if (!readme.isTrue()) {
    console.log('  the figures or the list in README.md are not these');
    code = 1;
  }
}
if (code === 1) {
  console.log('\nA regression is to be mended. What is better or otherwise goes into the list: the same with --write.');
}
await end(code);
