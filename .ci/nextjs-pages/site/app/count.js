'use client';
import { useState } from 'react';

/** Shows that the page's scripts run. */
export default function Count() {
  const [count, setCount] = useState(0);
  return (
    <button id="count" onClick={() => setCount(count + 1)}>
      {count}
    </button>
  );
}
