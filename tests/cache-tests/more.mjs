// What the suite on npm does not ask, in its own form: CDN-Cache-Control (RFC 9213), the parsing of Age and Expires
// as RFC 9111 has it now, stale answers and must-understand, interim answers.
//
// `interim` and `expected_interim` of a request are ours (origin.mjs, suite.mjs).

const HOUR = 'max-age=3600';
const CDN = 'CDN-Cache-Control';
const LATER = ['Expires', 10000];
const NOW = ['Date', 0];

/** One answer with these fields, and then whether a second request is answered from the cache. */
function once(id, name, fields, outcome, { kind = 'required', status, wait = true } = {}) {
  const answer = status && { response_status: [status, 'Whatever'] };
  return {
    id,
    name,
    kind,
    requests: [
      { response_headers: fields, setup: true, ...answer, ...(wait && { pause_after: true }) },
      { expected_type: outcome, ...answer },
    ],
  };
}

/** Fields here are compared with what comes through, but for those that the proxy may well drop or rewrite. */
const unseen = (name, value) => [name, value, false];
const cdn = (value) => unseen(CDN, value);
const age = (value) => unseen('Age', value);

const targeted = {
  ours: true,
  id: 'more-cdn',
  name: 'CDN-Cache-Control',
  tests: [
    once('more-cdn-lifetime', 'Its max-age is a lifetime', [cdn(HOUR)], 'cached', { kind: 'optimal' }),
    once('more-cdn-lifetime-31-bits', 'A lifetime of 2^31', [cdn('max-age=2147483648')], 'cached', { kind: 'optimal' }),
    once('more-cdn-lifetime-37-bits', 'A lifetime that 32 bits do not hold', [cdn('max-age=99999999999')], 'cached', {
      kind: 'optimal',
    }),
    once('more-cdn-extension', 'An unknown directive beside it changes nothing', [cdn('foobar, max-age=3600')], 'cached', {
      kind: 'optimal',
    }),
    once('more-cdn-parameter', 'A parameter of its member changes nothing', [cdn('max-age=3600;a=b')], 'cached', {
      kind: 'optimal',
    }),
    once('more-cdn-over-past-expires', 'It beats an Expires in the past', [cdn(HOUR), ['Expires', -10000], NOW], 'cached', {
      kind: 'optimal',
    }),
    once('more-cdn-over-no-date', 'It beats an Expires that is no date', [cdn(HOUR), unseen('Expires', '0'), NOW], 'cached', {
      kind: 'optimal',
    }),
    once('more-cdn-longer', 'It beats a shorter Cache-Control', [['Cache-Control', 'max-age=1'], cdn(HOUR)], 'cached', {
      kind: 'optimal',
    }),
    once('more-cdn-over-no-store', 'It beats no-store', [['Cache-Control', 'no-store'], cdn(HOUR)], 'cached'),
    once('more-cdn-over-private', 'It beats private', [['Cache-Control', 'private'], cdn(HOUR)], 'cached'),
    once('more-cdn-shorter', 'It beats a longer Cache-Control', [['Cache-Control', HOUR], cdn('max-age=1')], 'not_cached'),
    once('more-cdn-age', 'Age counts', [cdn(HOUR), ['Age', '7200'], NOW], 'not_cached'),
    once('more-cdn-zero', 'Zero is stale', [cdn('max-age=0')], 'not_cached'),
    once('more-cdn-zero-over-expires', 'Zero beats an Expires to come', [cdn('max-age=0'), LATER, NOW], 'not_cached'),
    ...['private', 'no-cache', 'no-store'].map((directive) =>
      once(
        `more-cdn-${directive}`,
        `Its ${directive} beats a Cache-Control with a lifetime`,
        [cdn(directive), ['Cache-Control', HOUR], LATER, NOW],
        'not_cached',
        { wait: false },
      ),
    ),
    once(
      'more-cdn-two-lines',
      'Two lines are one list',
      [cdn(HOUR), cdn('no-store'), ['Cache-Control', HOUR]],
      'not_cached',
    ),
    ...[
      ['unknown', 'max-age=3600, &&&&&'],
      ['string', 'max-age="3600"'],
      ['fraction', 'max-age=3600.5'],
      ['space', 'max-age= 3600'],
    ].flatMap(([id, value]) => [
      once(`more-cdn-invalid-${id}-no-store`, `${value} is ignored, no-store is not`, [cdn(value), ['Cache-Control', 'no-store']], 'not_cached'),
      once(`more-cdn-invalid-${id}`, `${value} is ignored, max-age is not`, [cdn(value), ['Cache-Control', HOUR]], 'cached'),
    ]),
    once('more-cdn-upper-case', 'A member in upper case makes it invalid', [cdn('MAX-AGE=3600'), ['Cache-Control', 'max-age=1']], 'not_cached'),
    once('more-cdn-empty', 'An empty one is none', [cdn(''), ['Cache-Control', HOUR]], 'cached'),
  ],
};

const ages = {
  ours: true,
  id: 'more-age',
  name: 'Age',
  tests: [
    ...[
      ['word', 'abc'],
      ['negative', '-7200'],
      ['fraction', '7200.0'],
      ['first-of-list', '0, 7200'],
      ['twice-zero', '0, 0'],
      ['twice-young', '600, 600'],
    ].map(([id, value]) => once(`more-age-${id}`, `Age: ${value} is no reason to be stale`, [['Cache-Control', HOUR], NOW, age(value)], 'cached')),
    once('more-age-first-line', 'The first line counts: 0, 7200', [['Cache-Control', HOUR], NOW, age('0'), age('7200')], 'cached'),
    once('more-age-first-line-old', 'The first line counts: 7200, 0', [['Cache-Control', HOUR], NOW, age('7200'), age('0')], 'not_cached'),
    ...['7200, 0', '2147483647', '2147483648', '2147483649', '99999999999999999999'].map((value) =>
      once(`more-age-old-${value.replace(/\W+/, '-')}`, `Age: ${value} is old`, [['Cache-Control', HOUR], NOW, age(value)], 'not_cached'),
    ),
  ],
};

const lifetimes = {
  ours: true,
  id: 'more-lifetime',
  name: 'Cache-Control that is not of its grammar',
  tests: [
    ...[
      ['semicolon', `${HOUR};x`],
      ['semicolon-before', `public; ${HOUR}`],
      ['space', `${HOUR} x`],
      ['open-quote', `x="y, ${HOUR}`],
    ].map(([id, value]) => once(`more-lifetime-${id}`, `${value} is stale`, [unseen('Cache-Control', value)], 'not_cached')),
    once('more-lifetime-shorter', 'A lifetime beside one that is none is stale', [unseen('Cache-Control', `${HOUR};x, ${HOUR}`)], 'not_cached'),
  ],
};

const dates = {
  ours: true,
  id: 'more-expires',
  name: 'Expires',
  tests: [
    ...[
      ['2038', 'Tue, 19 Jan 2038 14:14:08 GMT'],
      ['2286', 'Sun, 21 Nov 2286 04:46:39 GMT'],
      ['rfc850', 'Thursday, 18-Aug-50 02:01:18 GMT'],
      ['asctime', 'Thu Aug 18 02:01:18 2050'],
      ['upper-day', 'THU, 18 Aug 2050 02:01:18 GMT'],
      ['upper-month', 'Thu, 18 AUG 2050 02:01:18 GMT'],
      ['lower-zone', 'Thu, 18 Aug 2050 02:01:18 gmt'],
    ].map(([id, value]) => once(`more-expires-${id}`, `Expires: ${value} is a date`, [unseen('Expires', value), NOW], 'cached', { kind: 'optimal', wait: false })),
    ...[
      ['utc', 'Thu, 18 Aug 2050 02:01:18 UTC'],
      ['zone', 'Thu, 18 Aug 2050 02:01:18 AEST'],
      ['short-year', 'Thu, 18 Aug 50 02:01:18 GMT'],
      ['no-comma', 'Thu 18 Aug 2050 02:01:18 GMT'],
      ['spaces', 'Thu, 18  Aug  2050 02:01:18 GMT'],
      ['dashes', 'Thu, 18-Aug-2050 02:01:18 GMT'],
      ['periods', 'Thu, 18 Aug 2050 02.01.18 GMT'],
      ['short-hour', 'Thu, 18 Aug 2050 2:01:18 GMT'],
    ].map(([id, value]) => once(`more-expires-invalid-${id}`, `Expires: ${value} is in the past`, [unseen('Expires', value), NOW], 'not_cached', { wait: false })),
    once(
      'more-expires-two-lines',
      'Two lines that differ are in the past',
      [unseen('Expires', 'Thu, 18 Aug 2050 02:01:18 GMT'), unseen('Expires', 'Thu, 18 Aug 2050 02:01:19 GMT'), NOW],
      'not_cached',
      { wait: false },
    ),
  ],
};

/** Stale, and the origin hangs up: nothing may come from the cache. */
const forbidden = (directive) => ({
  id: `more-stale-${directive.replace(/=.*/, '')}`,
  name: `No stale answer where ${directive} forbids it`,
  requests: [
    { response_headers: [['Cache-Control', `max-age=2, ${directive}`]], setup: true, pause_after: true },
    {
      disconnect: true,
      check_body: false,
      expected_status: 502,
      expected_response_headers_missing: ['server-request-count'],
    },
  ],
});

const stale = {
  ours: true,
  id: 'more-stale',
  name: 'Stale answers',
  tests: [
    ...['must-revalidate', 'proxy-revalidate', 'no-cache', 's-maxage=2'].map(forbidden),
    {
      id: 'more-stale-while-revalidate',
      name: 'stale-while-revalidate answers at once',
      kind: 'optimal',
      requests: [
        {
          response_headers: [['Cache-Control', 'max-age=1, stale-while-revalidate=3600'], ['ETag', '"abc"']],
          setup: true,
          pause_after: true,
        },
        { expected_type: 'cached' },
      ],
    },
    {
      id: 'more-stale-while-revalidate-over',
      name: 'After its time, stale-while-revalidate answers no more',
      depends_on: ['more-stale-while-revalidate'],
      requests: [
        {
          response_headers: [['Cache-Control', 'max-age=1, stale-while-revalidate=4'], ['ETag', '"abc"']],
          setup: true,
          pause_after: true,
        },
        {
          response_headers: [unseen('Cache-Control', 'no-cache'), unseen('ETag', '"def"')],
          expected_type: 'cached',
          setup: true,
          pause_after: true,
        },
        { expected_response_headers: [['client-request-count', '3']] },
      ],
    },
    once(
      'more-must-understand-known',
      'no-store beside must-understand is ignored where the status is known',
      [['Cache-Control', `${HOUR}, no-store, must-understand`]],
      'cached',
      { kind: 'optimal', wait: false },
    ),
    once(
      'more-must-understand-unknown',
      'no-store beside must-understand holds where the status is not known',
      [['Cache-Control', `${HOUR}, no-store, must-understand`]],
      'not_cached',
      { status: 599, wait: false },
    ),
  ],
};

const hints = { link: '</style.css>; rel=preload; as=style', 'x-hint': 'yes' };

/** An interim answer before the final one, which is stored; the second request gets the final one alone. */
const interim = (id, name, kind, sent, first) => ({
  id,
  name,
  kind,
  requests: [
    {
      interim: [sent],
      response_headers: [['Cache-Control', HOUR], NOW],
      expected_response_headers_missing: ['x-hint'],
      ...first,
    },
    { expected_type: 'cached', expected_interim: [], expected_response_headers_missing: ['x-hint'] },
  ],
});

const interims = {
  ours: true,
  id: 'more-interim',
  name: 'Interim answers',
  tests: [
    interim('more-interim-102-final', 'Behind a 102, the final answer is stored', 'required', [102]),
    interim('more-interim-103-final', 'Behind a 103, the final answer is stored, without its fields', 'required', [103, hints]),
    interim('more-interim-102', 'A 102 reaches the client', 'optimal', [102], { expected_interim: [[102]] }),
    interim('more-interim-103', 'A 103 reaches the client', 'optimal', [103, hints], { expected_interim: [[103, hints]] }),
  ],
};

export default [targeted, ages, lifetimes, dates, stale, interims];
