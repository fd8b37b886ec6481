export async function POST(request) {
  return Response.json({ echo: await request.text() });
}
