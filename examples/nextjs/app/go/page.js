import { redirect } from 'next/navigation';

export const dynamic = 'force-dynamic';

// A redirect decided while rendering.
export default function Go() {
  redirect('/blog/hello');
}
