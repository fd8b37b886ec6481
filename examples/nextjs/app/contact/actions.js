'use server';

import { cookies } from 'next/headers';
import { redirect } from 'next/navigation';

export async function sayName(form) {
  (await cookies()).set('name', String(form.get('name') ?? '').slice(0, 40), { httpOnly: true });
  redirect('/personal');
}
