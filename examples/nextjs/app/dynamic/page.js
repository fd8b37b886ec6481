// Rendered for every request; `Cache-Control: private, no-cache, no-store, …`, so nothing is stored of it.
export const dynamic = 'force-dynamic';

export default function Dynamic() {
  return <h1>Dynamic</h1>;
}
