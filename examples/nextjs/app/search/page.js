// Reads the query, so Next renders it for every request.
export default async function Search({ searchParams }) {
  const { q = '' } = await searchParams;
  return <h1>Results for “{q}”</h1>;
}
