import Link from 'next/link';

export const metadata = { title: 'Next.js behind phantom-frame' };

const links = [
  ['/', 'Home'],
  ['/blog/hello', 'Hello'],
  ['/blog/second', 'Second'],
  ['/isr', 'Isr'],
  ['/dynamic', 'Dynamic'],
  ['/personal', 'Personal'],
  ['/contact', 'Contact'],
];

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>
        <nav>
          {links.map(([href, text]) => (
            <span key={href}>
              <Link href={href}>{text}</Link>{' '}
            </span>
          ))}
        </nav>
        <main>{children}</main>
      </body>
    </html>
  );
}
