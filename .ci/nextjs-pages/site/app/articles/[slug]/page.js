import Link from 'next/link';
import { notFound } from 'next/navigation';
import { articles } from '../../articles.mjs';

export const dynamicParams = false;
export const generateStaticParams = () => articles.map(({ slug }) => ({ slug }));

export async function generateMetadata({ params }) {
  const { slug } = await params;
  return { alternates: { canonical: `/articles/${slug}` } };
}

export default async function Article({ params }) {
  const { slug } = await params;
  const article = articles.find((article) => article.slug === slug);
  if (!article) notFound();
  return (
    <article>
      <h1>{article.title}</h1>
      <p>{article.text}</p>
      <Link href={`/articles/${article.next}`}>Next</Link>
    </article>
  );
}
