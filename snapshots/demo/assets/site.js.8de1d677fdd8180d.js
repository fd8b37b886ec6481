// The two pages that talk: an echo over a WebSocket, readings from an event stream. And the one that is somebody's.
const log = document.querySelector('[data-log]');

function say(text, kind) {
  const line = document.createElement('li');
  line.textContent = text;
  if (kind) line.className = kind;
  log.prepend(line);
  while (log.children.length > 30) log.lastChild.remove();
}

const form = document.querySelector('form[data-echo]');
if (form) {
  const socket = new WebSocket(new URL('/ws', location.href.replace(/^http/, 'ws')));
  socket.onopen = () => say('Connected. Shout something.', 'quiet');
  socket.onmessage = (message) => say(`… ${message.data}`);
  socket.onclose = () => say('The line is dead.', 'quiet');
  form.onsubmit = (event) => {
    event.preventDefault();
    const text = form.elements.text.value.trim();
    if (!text || socket.readyState !== WebSocket.OPEN) return;
    say(text, 'own');
    socket.send(text);
    form.reset();
  };
}

const gauge = document.querySelector('[data-wind]');
if (gauge) {
  const readings = new EventSource('/events');
  readings.onmessage = (message) => {
    const { reading, wind } = JSON.parse(message.data);
    gauge.textContent = wind;
    say(`Reading ${reading}: ${wind} km/h`);
  };
  readings.onerror = () => say('No reading. Trying again …', 'quiet');
}

// A page that the browser kept whole, for going back, is asked for again: whoever it greets may have signed out.
if (document.querySelector('[data-own]')) {
  addEventListener('pageshow', (event) => {
    if (event.persisted) location.reload();
  });
}
