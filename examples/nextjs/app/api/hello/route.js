// A route handler says nothing about caching; phantom-frame leaves such JSON alone.
export const dynamic = 'force-dynamic';

export function GET() {
  return Response.json({ hello: 'world' });
}
