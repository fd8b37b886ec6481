import Link from 'next/link';
import { articles } from './articles.mjs';
import Count from './count';

export default function Home() {
  return (
    <>
      <h1>Two hundred pages</h1>
      <Count />
      <ul>
        {articles.map(({ slug, title }) => (
          <li key={slug}>
            <Link href={`/articles/${slug}`}>{title}</Link>
          </li>
        ))}
      </ul>
    </>
  );
}
