// Asks both sides for the chosen page, and keeps requests and directory up to date.
const $ = (selector, within = document) => within.querySelector(selector);
const picker = $('#page');
const story = $('#story');
const sides = { backend: $('#from-backend'), proxy: $('#from-proxy') };
const POLL_MS = 700;
const FRESH_MS = 3000;
const PREVIEW_WIDTH = 880;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function ask(method, action, parameters = {}) {
  const query = new URLSearchParams(parameters);
  const response = await fetch(`${action}?${query}`, { method });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// --- both sides -----------------------------------------------------------------------------------

let round = 0;

async function load() {
  const mine = ++round;
  const path = picker.value;
  $('#load').disabled = true;
  const answers = await Promise.all(Object.keys(sides).map(async (from) => {
    sides[from].classList.add('waiting');
    let answer;
    try {
      answer = await ask('GET', 'fetch', { from, path });
    } catch (error) {
      answer = { error: error.message };
    }
    if (mine === round) show(sides[from], answer);
    return answer;
  }));
  if (mine !== round) return;
  $('#load').disabled = false;
  compare(...answers);
}

function field(answer, name) {
  const found = (answer.headers ?? []).filter(([known]) => known === name).map(([, value]) => value);
  return found.join(', ');
}

function show(side, answer) {
  side.classList.remove('waiting');
  side.answer = answer;
  const output = $('output', side);
  output.replaceChildren(...(answer.error ? ['–'] : time(answer.total_ms)));
  for (const cell of side.querySelectorAll('[data-field]')) {
    const name = cell.dataset.field;
    const status = answer.status ? `${answer.status} ${answer.reason ?? ''}` : '';
    const text = name === 'status' ? status : field(answer, name);
    cell.textContent = text || '–';
    cell.title = text;
  }
  preview($('.preview', side), answer);
  bars();
}

function time(ms) {
  const digits = ms < 10 ? ms.toFixed(1) : Math.round(ms).toLocaleString('en');
  return [digits, element('small', { textContent: 'ms' })];
}

// One scale for both: the dark part until the first byte, the light one until the last.
function bars() {
  const answers = Object.values(sides).map((side) => side.answer ?? {});
  const whole = Math.max(...answers.map((answer) => answer.total_ms ?? 0), 1);
  for (const side of Object.values(sides)) {
    const { first_ms: first = 0, total_ms: total = 0 } = side.answer ?? {};
    const [until, after] = side.querySelectorAll('.bar i');
    until.style.width = total ? `max(3px, ${(100 * first) / whole}%)` : '0';
    after.style.width = `${(100 * (total - first)) / whole}%`;
  }
}

function preview(box, answer) {
  const location = field(answer, 'location');
  if (answer.error) {
    box.replaceChildren(element('p', { textContent: `No answer: ${answer.error}.` }));
  } else if (location) {
    box.replaceChildren(element('p', { textContent: `Go to ${location}` }));
  } else if (/^(audio|video|image)\//.test(answer.content_type)) {
    const length = field(answer, 'content-length');
    const bytes = length ? `${size(Number(length))} of ` : '';
    box.replaceChildren(element('p', { textContent: `${bytes}${answer.content_type}` }));
  } else if (!answer.content_type?.startsWith('text/html')) {
    box.replaceChildren(element('pre', { textContent: answer.body }));
  } else {
    const old = $('iframe', box);
    if (old?.srcdoc === answer.body) return;
    const frame = element('iframe', { title: 'The page', tabIndex: -1, srcdoc: answer.body });
    frame.setAttribute('sandbox', '');
    frame.setAttribute('scrolling', 'no');
    box.replaceChildren(frame);
    fit(box);
  }
}

function fit(box) {
  const frame = $('iframe', box);
  if (!frame) return;
  const scale = box.clientWidth / PREVIEW_WIDTH;
  frame.style.height = `${box.clientHeight / scale}px`;
  frame.style.transform = `scale(${scale})`;
}

const sizes = new ResizeObserver((boxes) => boxes.forEach(({ target }) => fit(target)));
document.querySelectorAll('.preview').forEach((box) => sizes.observe(box));

// --- what is to be seen ---------------------------------------------------------------------------

function compare(backend, proxy) {
  const word = proxy.error ? 'failed' : proxy.outcome;
  Object.assign($('.word', sides.proxy), { textContent: word, className: `word ${word}` });
  tell(sentence(backend, proxy));
}

function sentence(backend, proxy) {
  if (proxy.error) return `phantom-frame gave no answer: ${proxy.error}.`;
  if (backend.error && proxy.status < 500) return '**The backend is down, the page is not.** It comes from its file.';
  if (backend.error) return 'The backend is down, and there is no snapshot of this page. Start it again.';
  const same = backend.body === proxy.body && backend.status === proxy.status;
  switch (proxy.outcome) {
    case 'hit':
      if (!same) return 'The page was edited, and its snapshot holds the text from before. **Purge this page** and load again.';
      if (proxy.status >= 400) return '**Remembered for a minute**, in memory only: nobody wants files of what is not there.';
      return `**${factor(backend, proxy)} faster**, and the same bytes: answered from a file, the backend was not asked.`;
    case 'miss':
      if (proxy.is_stored) return 'Not there yet: fetched from the backend, passed on while it arrived, and **kept**. Load again.';
      break;
    case 'collapsed': return 'Somebody else had just asked: **one request** to the backend served both.';
    case 'revalidated': return 'The backend was asked whether the snapshot still holds, and **said yes**.';
    case 'stale': return 'The snapshot has expired and the backend gave no answer: **better an old page than none**.';
  }
  return proxy.detail ? `Passed on and **not stored**. The reason is “${proxy.detail}”.` : 'Passed on and **not stored**.';
}

function factor(backend, proxy) {
  const times = backend.total_ms / Math.max(proxy.total_ms, 0.1);
  return times < 10 ? `${times.toFixed(1)} times` : `${Math.round(times)} times`;
}

// `**strong**` is all the markup there is.
function tell(text) {
  const parts = text.split('**');
  story.replaceChildren(...parts.map((part, n) => (n % 2 ? element('strong', { textContent: part }) : part)));
}

// --- actions --------------------------------------------------------------------------------------

async function act(action, parameters, then) {
  try {
    then(await ask('POST', action, parameters));
  } catch (error) {
    tell(`That did not work: ${error.message}.`);
  }
  refresh();
}

function purged({ removed }) {
  const what = removed === 1 ? 'One snapshot is' : `${removed} snapshots are`;
  tell(removed ? `**${what} gone**, from the directory too. Load again to have the page rendered anew.` : 'There was nothing to purge.');
}

picker.onchange = load;
$('#load').onclick = load;
$('#edit').onclick = () => act('edit', { path: picker.value }, load);
$('#purge').onclick = () => act('purge', { path: picker.value }, purged);
$('#purge-all').onclick = () => act('purge', {}, purged);
$('#toggle').onclick = () => act(`backend/${$('#toggle').dataset.action}`, {}, load);

// --- requests and directory, live -----------------------------------------------------------------

let shownRequests = '';
let shownFiles = '';
let born = null;

async function refresh() {
  let state;
  try {
    state = await ask('GET', 'state');
  } catch {
    Object.assign($('#backend'), { textContent: 'The demo has ended', className: 'state down' });
    return;
  }
  showBackend(state.backend);
  const pages = state.requests.filter(({ target }) => !target.startsWith('/assets/'));
  const requests = JSON.stringify(pages);
  if (requests !== shownRequests) showRequests(pages);
  shownRequests = requests;
  const files = JSON.stringify(state.files);
  if (files !== shownFiles) showFiles(state);
  shownFiles = files;
}

function showBackend({ running, address, renders }) {
  const text = running ? `Backend on port ${address.split(':')[1]}, ${renders} renders` : 'Backend stopped';
  Object.assign($('#backend'), { textContent: text, className: running ? 'state up' : 'state down' });
  const toggle = $('#toggle');
  toggle.textContent = running ? 'Stop backend' : 'Start backend';
  toggle.dataset.action = running ? 'stop' : 'start';
}

function showRequests(requests) {
  $('#requests').replaceChildren(...requests.map((request) => {
    const word = element('span', { className: `word ${request.outcome}`, textContent: request.outcome });
    const result = element('td', {}, word);
    if (request.detail) result.append(element('small', { textContent: request.detail }));
    return element('tr', {},
      element('td', { textContent: `${request.method} ${request.target}`, title: request.target }),
      element('td', { textContent: request.status }),
      result,
      element('td', { className: 'number', textContent: request.ms < 0.1 ? '< 0.1 ms' : `${request.ms.toFixed(1)} ms` }));
  }));
}

function showFiles({ directory, files, more_files: more }) {
  $('#directory').textContent = directory;
  const snapshots = files.filter(({ path }) => /\.[0-9a-f]{16}[^/]*\.toml$/.test(path)).length;
  $('#sum').textContent = `${snapshots}${more ? '+' : ''} snapshot${snapshots === 1 ? '' : 's'}`;
  const now = Date.now();
  const known = born ?? new Map(files.map((file) => [file.path + file.version, 0]));
  born = new Map(files.map((file) => [file.path + file.version, known.get(file.path + file.version) ?? now]));

  const focused = document.activeElement?.dataset?.path;
  const rows = [];
  const folders = [];
  for (const file of files) {
    const parts = file.path.split('/');
    const name = parts.pop();
    parts.forEach((part, depth) => {
      if (folders[depth] === part) return;
      folders.splice(depth, Infinity, part);
      rows.push(indent(element('li', { className: 'folder', textContent: `${part}/` }), depth));
    });
    folders.length = parts.length;
    rows.push(row(file, name, parts.length, now));
  }
  if (!rows.length) rows.push(element('li', { className: 'empty', textContent: 'Nothing yet. Load a page.' }));
  $('#tree').replaceChildren(...rows);
  if (focused) $(`[data-path="${CSS.escape(focused)}"]`)?.focus();
}

function row(file, name, depth, now) {
  const [, stem, rest] = /^(.+?)(\.[0-9a-f]{16}.*)$/.exec(name) ?? [null, name, ''];
  const [hash, extension] = rest ? [rest.slice(0, 17), rest.slice(17)] : ['', ''];
  const label = element('span', { className: 'name', title: name },
    element('span', { className: 'stem', textContent: stem }), element('i', { textContent: hash }), extension);
  const button = element('button', {}, label, element('span', { className: 'bytes', textContent: size(file.bytes) }));
  button.dataset.path = file.path;
  button.onclick = () => open(file.path);
  const item = element('li', { className: name.endsWith('.toml') ? 'sidecar' : '' }, indent(button, depth));
  if (now - born.get(file.path + file.version) < FRESH_MS) {
    item.classList.add('fresh');
    setTimeout(() => item.classList.remove('fresh'), FRESH_MS);
  }
  return item;
}

function indent(made, depth) {
  made.style.setProperty('--depth', depth);
  return made;
}

function size(bytes) {
  return bytes < 1000 ? `${bytes} B` : `${(bytes / 1000).toFixed(1)} kB`;
}

async function open(path) {
  const dialog = $('#file');
  $('h2', dialog).textContent = path;
  try {
    $('pre', dialog).textContent = (await ask('GET', 'file', { path })).text;
  } catch (error) {
    $('pre', dialog).textContent = error.message;
  }
  dialog.showModal();
}

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, POLL_MS);
}

const wanted = new URLSearchParams(location.search).get('page');
if ([...picker.options].some((option) => option.value === wanted)) picker.value = wanted;
load();
poll();
