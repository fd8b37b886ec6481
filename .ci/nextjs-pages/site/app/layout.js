import Link from 'next/link';
import './style.css';

export const metadata = { title: 'Two hundred pages', metadataBase: new URL('https://pages.example') };

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body>
        <nav>
          <img src="/mark.svg" alt="" width="8" height="8" /> <Link href="/">Home</Link>{' '}
          <Link href="/clock" prefetch={false}>Clock</Link>{' '}
          <Link href="/now" prefetch={false}>Now</Link> <a href="/basket">Basket</a>
        </nav>
        <main>{children}</main>
      </body>
    </html>
  );
}
