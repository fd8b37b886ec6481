// The figures for the README.

import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { count } from './suite.mjs';

const OTHERS = [
  ['squid.json', 'Squid 4.13'],
  ['trafficserver.json', 'Traffic Server 8.0.8'],
  ['apache.json', 'Apache httpd 2.4.46'],
  ['varnish.json', 'Varnish 6.4.0'],
  ['nginx.json', 'nginx 1.18.0'],
  ['fastly.json', 'Fastly (2019)'],
  ['nuster.json', 'nuster'],
];
const OURS = {
  transparent: 'phantom-frame, `fill = "transparent"`, `default_ttl = "0s"`',
  default: 'phantom-frame, default settings',
};

async function figures(folder, counts) {
  const { default: groups } = await import(pathToFileURL(path.resolve(folder, 'tests/index.mjs')));
  const tests = new Map(groups.flatMap((group) => group.tests).map((test) => [test.id, test]));
  const rows = Object.entries(counts).map(([mode, count]) => [OURS[mode], count]);
  const others = OTHERS.map(([file, name]) => {
    const results = JSON.parse(readFileSync(path.join(folder, 'results', file), 'utf8'));
    return [name, count(groups, tests, results)];
  });
  others.sort(([, a], [, b]) => b.required.passed - a.required.passed);
  const all = others[0][1];
  const lines = [`| | Required, of ${all.required.all} | Optimal, of ${all.optimal.all} |`, '|---|---|---|'];
  for (const [name, { required, optimal }] of [...rows, ...others]) {
    lines.push(`| ${name} | ${required.passed} | ${optimal.passed} |`);
  }
  return lines.join('\n');
}

/** What is not passed of the required and optimal tests in transparent mode, and why. */
function losses(groups, suite) {
  const lines = [];
  for (const { reason, transparent = {} } of groups) {
    const ids = Object.values(transparent).flat().filter((id) => suite.kind(id) !== 'check' && !suite.isOurs(id));
    if (ids.length > 0) lines.push(`- ${reason}: ${ids.sort().map((id) => `\`${id}\``).join(', ')}.`);
  }
  return lines.sort().join('\n');
}

const README = new URL('../../README.md', import.meta.url);
const SECTION = /(<!-- begin cache-tests -->\n)[^]*(<!-- end cache-tests -->)/;

/** README's section as it should be, or whether it is so. */
export class Readme {
  static async of(folder, counts, groups, suite) {
    const text = readFileSync(README, 'utf8');
    const section = `${await figures(folder, counts)}\n\nNot passed with \`fill = "transparent"\`, and why:\n\n${losses(groups, suite)}\n`;
    return new Readme(text, section);
  }

  constructor(text, section) {
    this.text = text;
    this.section = section;
    this.wanted = text.replace(SECTION, (_, begin, end) => `${begin}${section}${end}`);
  }

  isTrue() {
    return this.text === this.wanted;
  }

  write() {
    writeFileSync(README, this.wanted);
  }
}
