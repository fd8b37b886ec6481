// Rendered anew every second: what is stored of it is out of date at once, and differs each time.
export const revalidate = 1;

export default function Clock() {
  return (
    <p id={`c${Math.random().toString(16).slice(2, 10)}`}>Rendered at {new Date().toISOString()}</p>
  );
}
