// JSON that may be stored, because it says for how long.
export const dynamic = 'force-dynamic';

export function GET() {
  return Response.json({ version: 1 }, { headers: { 'cache-control': 'public, s-maxage=300' } });
}
