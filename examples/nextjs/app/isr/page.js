// Static, rendered again when it is older than a minute: `Cache-Control: s-maxage=60, stale-while-revalidate=…`.
export const revalidate = 60;

export default function Isr() {
  return <h1>Isr</h1>;
}
