import { headers } from 'next/headers';

// Reads a request field without any `Vary`: Next only says that the answer must not be stored.
export default async function Language() {
  const wanted = (await headers()).get('accept-language') ?? '';
  return <h1>{wanted.startsWith('de') ? 'Guten Tag' : 'Good day'}</h1>;
}
