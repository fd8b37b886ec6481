export const dynamic = 'force-dynamic';

export const GET = () =>
  new Response('<!doctype html><html><body><p>An empty basket</p></body></html>', {
    headers: { 'content-type': 'text/html', 'set-cookie': 'basket=empty; Path=/' },
  });
