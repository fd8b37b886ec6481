// Rendered for each request: Next says that nobody may keep it.
export const dynamic = 'force-dynamic';

export default function Now() {
  return <p>It is {new Date().toISOString()}</p>;
}
