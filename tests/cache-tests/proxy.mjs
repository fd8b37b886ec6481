// The proxy under test: the binary over a directory of its own, on a free port.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';

const START_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 5_000;

/** Settings of the two runs, as in config.toml. */
export const SETTINGS = {
  // A plain RFC 9111 cache. The suite demands that nothing without a lifetime of its own is reused.
  transparent: ['fill = "transparent"', 'default_ttl = "0s"', 'languages = ["de", "en"]'],
  // As it comes; but the suite's origin tells requests apart by these fields.
  default: ['unkeyed_headers = ["Req-Num", "Test-ID", "Test-Name"]'],
};

export class Proxy {
  static async start(binary, mode, origin) {
    const work = mkdtempSync(path.join(tmpdir(), 'cache-tests-'));
    const settings = [
      '[server]',
      `proxy_url = "${origin}"`,
      'proxy_bind = "127.0.0.1"',
      'proxy_port = 0',
      'control_port = 0',
      'snapshot_dir = "snapshots"',
      'durability = "none"',
      'log = "warn"',
      ...SETTINGS[mode],
    ];
    const file = path.join(work, 'config.toml');
    writeFileSync(file, `${settings.join('\n')}\n`);
    const child = spawn(binary, ['serve', file], { stdio: ['ignore', 'pipe', 'pipe'] });
    const proxy = new Proxy(child, work);
    try {
      proxy.address = await address(child);
    } catch (error) {
      await proxy.stop();
      throw error;
    }
    return proxy;
  }

  constructor(child, work) {
    this.child = child;
    this.work = work;
  }

  async stop() {
    if (this.child.exitCode === null && this.child.signalCode === null && this.child.pid !== undefined) {
      const ended = new Promise((resolve) => this.child.once('exit', resolve));
      // The second one ends it at once; there is nothing here that is worth finishing.
      this.child.kill();
      this.child.kill();
      const last = setTimeout(() => this.child.kill('SIGKILL'), STOP_LIMIT_MS);
      await ended;
      clearTimeout(last);
    }
    rmSync(this.work, { recursive: true, force: true, maxRetries: 20 });
  }
}

function address(child) {
  return new Promise((resolve, reject) => {
    const lines = [];
    const late = setTimeout(() => reject(new Error(`the proxy did not start:\n${lines.join('\n')}`)), START_LIMIT_MS);
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`the proxy has ended (${code}):\n${lines.join('\n')}`)));
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        lines.push(line);
        const found = /^phantom-frame .*(http:\/\/\S+) -> /.exec(line);
        if (!found) return;
        clearTimeout(late);
        resolve(found[1]);
      });
    }
  });
}
