// The requests that check.mjs makes: what browsers and Next's client-side router send, and what becomes of each.

import { createHash } from 'node:crypto';

export const DOCUMENT = {
  accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8',
  'accept-encoding': 'identity',
  'accept-language': 'en',
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36',
  'sec-fetch-dest': 'document',
};
const IMAGE = { ...DOCUMENT, accept: 'image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8', 'sec-fetch-dest': 'image' };
const FETCH = { ...DOCUMENT, accept: '*/*', 'sec-fetch-dest': 'empty' };

/** A request of the client-side router. Next answers 307 unless `_rsc` is the hash of the four fields. */
function routed(target, { prefetch, segment, tree, from }) {
  const input = [prefetch ?? '0', segment ?? '0', tree ?? '0', from ?? '0'].join(',');
  const none = [prefetch, segment, tree, from].every((value) => value === undefined);
  const hash = none ? '' : createHash('sha256').update(input).digest().subarray(0, 12).toString('base64url');
  const fields = {
    rsc: '1',
    'next-router-prefetch': prefetch,
    'next-router-segment-prefetch': segment,
    'next-router-state-tree': tree,
    'next-url': from,
  };
  const sent = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  return { path: `${target}${target.includes('?') ? '&' : '?'}_rsc=${hash}`, headers: { ...FETCH, ...sent } };
}

const TREE = encodeURIComponent(JSON.stringify(['', { children: ['__PAGE__', {}] }, null, null, 16]));
// Pages rendered for a request carry ids of 22 random characters in their RSC form.
const withoutIds = (bytes) => Buffer.from(bytes.toString('latin1').replace(/"[A-Za-z0-9_-]{22}"/g, '"id"'), 'latin1');

// What the last visit must be: `hit`; `pass`: never from the cache; `fresh`: the lifetime is zero, so the
// site is asked whether it still holds; `any`: either is right. `site` is what `learn` in check.mjs found out.
export function cases(site) {
  const document = (target, expect, extra = {}) => ({ name: `GET ${target}`, path: target, headers: DOCUMENT, expect, ...extra });
  const list = [
    document('/', 'hit'),
    document('/blog/hello', 'hit'),
    document('/blog/second', 'hit'),
    document('/isr', 'hit', { lifetime: 60_000 }),
    document('/contact', 'hit'),
    document('/?utm_source=letter', 'hit'),
    document('/blog/%68ello', 'hit'),
    document('/old', 'hit'),
    document('/blog/hello/', 'hit'),
    document('/api/version', 'hit'),
    document('/latest', 'pass'),
    document('/go', 'pass'),
    document('/dynamic', 'pass'),
    document('/personal', 'pass'),
    document('/language', 'pass', { name: 'GET /language in German', headers: { ...DOCUMENT, 'accept-language': 'de-DE,de;q=0.9' } }),
    document('/language', 'pass'),
    document('/search?q=a', 'pass'),
    document('/search?q=b&q=a%20b', 'pass'),
    document('/nothing', 'pass'),
    document('/_next/static/none.js', 'pass'),
    document('/blog/none', 'any'),
    document('/api/hello', 'pass', { headers: FETCH }),
    document('/robots.txt', 'fresh'),
    document('/dot.png', 'fresh', { headers: IMAGE }),
    ...site.assets.map((target) => document(target, 'hit', { headers: FETCH })),
    document(site.image, 'hit', { headers: IMAGE, visits: 3 }),
    // `max-age=0, must-revalidate` and nothing to validate it by.
    document(site.icon, 'pass', { headers: IMAGE }),
    { name: 'GET / with an analytics cookie', path: '/', headers: { ...DOCUMENT, cookie: '_ga=GA1.1.1.1' }, expect: 'hit' },
    { name: 'GET / gzipped', path: '/', headers: { ...DOCUMENT, 'accept-encoding': 'gzip' }, expect: 'hit' },
    { name: 'GET /dynamic gzipped', path: '/dynamic', headers: { ...DOCUMENT, 'accept-encoding': 'gzip' }, expect: 'pass' },
    { name: 'GET /personal signed in', path: '/personal', headers: { ...DOCUMENT, cookie: 'name=Ada' }, expect: 'pass' },
    { name: 'GET / signed in', path: '/', headers: { ...DOCUMENT, cookie: 'name=Ada' }, expect: 'pass' },
    { name: 'GET /personal signed out again', path: '/personal', headers: DOCUMENT, expect: 'pass' },
  ];
  const pages = [['/', '/__PAGE__'], ['/blog/hello', '/blog/$d$slug/__PAGE__'], ['/blog/second', '/blog/$d$slug/__PAGE__'], ['/isr', '/isr/__PAGE__'], ['/contact', '/contact/__PAGE__']];
  for (const [target, segment] of pages) {
    const extra = target === '/isr' ? { lifetime: 60_000 } : {};
    list.push(
      { name: `RSC navigation to ${target}`, ...routed(target, { tree: TREE, from: '/' }), expect: 'hit', ...extra },
      { name: `RSC route prefetch of ${target}`, ...routed(target, { prefetch: '1', segment: '/_tree', from: '/' }), expect: 'hit', ...extra },
      { name: `RSC page prefetch of ${target}`, ...routed(target, { prefetch: '1', segment, from: '/' }), expect: 'hit', ...extra },
    );
  }
  list.push(
    { name: 'RSC navigation to / from /personal', ...routed('/', { tree: TREE, from: '/personal' }), expect: 'hit' },
    { name: 'RSC payload of /', ...routed('/', {}), expect: 'hit' },
    { name: 'RSC with a hash of other fields', path: '/?_rsc=abcde', headers: { ...FETCH, rsc: '1' }, expect: 'pass' },
    { name: 'GET / with that hash, as a document', path: '/?_rsc=abcde', headers: DOCUMENT, expect: 'hit' },
    { name: 'RSC navigation to a redirect', ...routed('/old', { tree: TREE, from: '/' }), expect: 'any' },
  );
  for (const target of ['/dynamic', '/personal', '/search?q=a', '/go', '/nothing']) {
    list.push(
      { name: `RSC navigation to ${target}`, ...routed(target, { tree: TREE, from: '/' }), expect: 'pass', normalise: withoutIds },
      { name: `RSC prefetch of ${target}`, ...routed(target, { prefetch: '1', segment: '/_tree', from: '/' }), expect: 'pass', normalise: withoutIds },
    );
  }
  for (const target of ['/', '/blog/hello', '/old', '/api/version']) list.push({ name: `HEAD ${target}`, path: target, method: 'HEAD', headers: DOCUMENT, expect: 'hit' });
  for (const target of ['/dynamic', '/nothing', '/api/hello', '/latest']) list.push({ name: `HEAD ${target}`, path: target, method: 'HEAD', headers: DOCUMENT, expect: 'pass' });
  for (const [field, status] of [[site.etag, 304], [`W/${site.etag}`, 304], ['*', 304], ['"another"', 200], [`"another", ${site.etag}`, 304]]) {
    list.push({ name: `GET / If-None-Match: ${field.replace(site.etag, 'its ETag')}`, path: '/', headers: { ...DOCUMENT, 'if-none-match': field }, expect: 'hit', status });
  }
  list.push(
    { name: 'GET / If-Modified-Since, before it was made', path: '/', headers: { ...DOCUMENT, 'if-modified-since': new Date(0).toUTCString() }, expect: 'hit', status: 200 },
    { name: 'GET /robots.txt If-Modified-Since', path: '/robots.txt', headers: { ...DOCUMENT, 'if-modified-since': new Date(Date.now() + 5000).toUTCString() }, expect: 'any', status: 304 },
    { name: 'GET /robots.txt Range', path: '/robots.txt', headers: { ...DOCUMENT, range: 'bytes=0-9' }, expect: 'any', status: 206 },
    { name: 'POST /api/echo', path: '/api/echo', method: 'POST', headers: { ...FETCH, 'content-type': 'text/plain' }, body: 'hello', expect: 'pass', status: 200 },
    { name: 'GET /api/echo', path: '/api/echo', headers: FETCH, expect: 'pass', status: 405 },
    { name: 'POST /', path: '/', method: 'POST', headers: FETCH, body: '', expect: 'pass', status: 405 },
    { name: 'DELETE /', path: '/', method: 'DELETE', headers: FETCH, expect: 'pass', status: 405 },
    { name: 'OPTIONS /api/hello', path: '/api/hello', method: 'OPTIONS', headers: FETCH, expect: 'pass', status: 204 },
    ...actions(site.action),
  );
  return list;
}

/** The form of /contact, as a browser without scripts sends it and as Next's client does. */
function actions(id) {
  const part = (name, value) => `--edge\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`;
  const form = { name: 'POST /contact (form)', path: '/contact', method: 'POST', expect: 'pass' };
  const type = 'multipart/form-data; boundary=edge';
  const plain = { ...DOCUMENT, origin: 'ORIGIN', 'content-type': type };
  const client = { ...FETCH, accept: 'text/x-component', origin: 'ORIGIN', 'content-type': type, 'next-action': id, 'next-router-state-tree': TREE };
  const encoded = `${part('_1_name', 'Ada')}${part('0', '["$K1"]')}--edge--\r\n`;
  return [
    { ...form, headers: plain, body: `${part(`$ACTION_ID_${id}`, '')}${part('name', 'Ada')}--edge--\r\n`, status: 303 },
    { ...form, name: 'POST /contact (server action)', headers: client, body: encoded, status: 200, normalise: withoutIds },
    { ...form, name: 'POST /contact (action of another origin)', headers: { ...client, origin: 'http://evil.example' }, body: encoded, status: 500 },
    { ...form, name: 'POST /contact (unknown action)', headers: { ...client, 'next-action': '00'.repeat(21) }, body: encoded, status: 409 },
  ];
}
