import { cookies } from 'next/headers';

// Reads a cookie, so Next renders it for every request and forbids storing it.
export default async function Personal() {
  const name = (await cookies()).get('name')?.value;
  return <h1>{name ? `Good day, ${name}` : 'Good day, stranger'}</h1>;
}
