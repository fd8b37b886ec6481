// The origin that the tests talk to: the package's handlers on a free port of this machine alone, and interim answers,
// which the package does not know.

import http from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

export class Origin {
  static async start({ folder }) {
    const load = (name) => import(pathToFileURL(path.resolve(folder, 'server', name)));
    const handlers = {};
    for (const name of ['config', 'state', 'test']) {
      handlers[name] = (await load(`handle-${name}.mjs`)).default;
    }
    const { configs } = await load('utils.mjs');
    const server = http.createServer((request, response) => {
      const [, name, ...rest] = new URL(request.url, 'http://origin').pathname.split('/');
      if (!(name in handlers)) {
        response.writeHead(404).end();
        return;
      }
      if (name === 'test') sendInterim(configs.get(rest[0]), request, response);
      handlers[name](rest, request, response);
    });
    await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve));
    return new Origin(server);
  }

  constructor(server) {
    this.server = server;
    this.address = `http://127.0.0.1:${server.address().port}`;
  }

  async stop() {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await closed;
  }
}

/** `interim: [[102], [103, { link: '…' }]]` of a request in more.mjs. */
function sendInterim(requests, request, response) {
  const number = Number(request.headers['req-num']);
  for (const [status, fields] of requests?.[number - 1]?.interim ?? []) {
    if (status === 102) response.writeProcessing();
    else response.writeEarlyHints(fields);
  }
}

/** Notes the interim answers that each request got; the package's client never sees them. */
export class InterimAgent extends http.Agent {
  #seen = new Map();

  addRequest(request, ...rest) {
    const interim = [];
    this.#seen.set(`${request.getHeader('Test-ID')} ${request.getHeader('Req-Num')}`, interim);
    request.on('information', ({ statusCode, headers }) => {
      const { date, ...fields } = headers;
      interim.push(Object.keys(fields).length > 0 ? [statusCode, fields] : [statusCode]);
    });
    super.addRequest(request, ...rest);
  }

  seen(id, number) {
    return this.#seen.get(`${id} ${number}`) ?? [];
  }
}
