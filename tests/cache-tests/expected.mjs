// The list of tests that are not passed, expected.json: groups of them, each with the reason.
//
//   [{ "reason": "…", "transparent": { "fail": ["id", …], "dependency": […] }, "default": { … } }, …]
//
// Outcomes: fail; setup (the test did not get as far as its question); dependency (a test that it builds on is not
// passed); retry (the origin was asked twice); no (an answer to a test that only asks what a cache does).

import { readFileSync, writeFileSync } from 'node:fs';
import { SETTINGS } from './proxy.mjs';

const FILE = new URL('expected.json', import.meta.url);
const MODES = Object.keys(SETTINGS);
const UNEXPLAINED = '';
const MANY = 10;

export function readExpected() {
  return JSON.parse(readFileSync(FILE, 'utf8'));
}

export class Expected {
  constructor(groups, mode) {
    this.groups = groups;
    this.mode = mode;
  }

  *entries() {
    for (const group of this.groups) {
      for (const [outcome, ids] of Object.entries(group[this.mode] ?? {})) {
        for (const id of ids) yield { id, outcome, group };
      }
    }
  }

  differences(suite) {
    const listed = new Map();
    for (const { id, outcome } of this.entries()) {
      if (listed.has(id)) throw new Error(`expected.json has ${id} twice for ${this.mode}`);
      listed.set(id, outcome);
    }
    const unknown = [...listed.keys()].filter((id) => !suite.ids().includes(id));
    if (unknown.length > 0) throw new Error(`expected.json names tests that are not there: ${unknown.join(', ')}`);
    return suite
      .ids()
      .map((id) => ({ id, was: listed.get(id) ?? 'pass', is: suite.outcome(id), message: suite.message(id) }))
      .filter(({ was, is }) => was !== is);
  }

  unexplained() {
    return [...this.entries()].filter(({ group }) => group.reason === UNEXPLAINED).map(({ id }) => id);
  }

  /**
   * Makes the list say what has come out. A test keeps its reason while its outcome is the same; else it has that of the
   * other mode, or the one that all of many tests with that outcome have in this mode.
   */
  take(suite) {
    const reasons = new Map();
    for (const mode of [...MODES, this.mode]) {
      for (const { id, outcome, group } of new Expected(this.groups, mode).entries()) {
        reasons.set(`${id} ${outcome}`, group.reason);
      }
    }
    const common = new Map();
    for (const { outcome, group } of this.entries()) {
      const known = common.get(outcome) ?? { reason: group.reason, tests: 0 };
      common.set(outcome, { reason: known.reason === group.reason ? known.reason : UNEXPLAINED, tests: known.tests + 1 });
    }
    const usual = (outcome) => (common.get(outcome)?.tests >= MANY ? common.get(outcome).reason : UNEXPLAINED);
    for (const group of this.groups) delete group[this.mode];
    for (const id of suite.ids().sort()) {
      const outcome = suite.outcome(id);
      if (outcome === 'pass') continue;
      const reason = reasons.get(`${id} ${outcome}`) ?? usual(outcome);
      let group = this.groups.find((other) => other.reason === reason);
      if (!group) this.groups.push((group = { reason }));
      ((group[this.mode] ??= {})[outcome] ??= []).push(id);
    }
  }
}

export function writeExpected(groups) {
  const kept = groups.filter((group) => MODES.some((mode) => group[mode]));
  const text = kept.map((group) => {
    const lines = [`    "reason": ${JSON.stringify(group.reason)}`];
    for (const mode of MODES) {
      if (!group[mode]) continue;
      const outcomes = Object.keys(group[mode]).sort().map((outcome) => {
        const ids = group[mode][outcome].map((id) => `\n        ${JSON.stringify(id)}`).join(',');
        return `      ${JSON.stringify(outcome)}: [${ids}\n      ]`;
      });
      lines.push(`    ${JSON.stringify(mode)}: {\n${outcomes.join(',\n')}\n    }`);
    }
    return `  {\n${lines.join(',\n')}\n  }`;
  });
  writeFileSync(FILE, `[\n${text.join(',\n')}\n]\n`);
}
