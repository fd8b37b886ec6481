# A Rails application in one file: sessions in a cookie, forms with tokens, flash, sign-in.
# Defaults of a new application, but for what one file makes necessary.

require "action_controller/railtie"

WORK = ENV.fetch("SITE_WORK")
PEOPLE = { "alice" => "alice-s3cr3t@site.test", "bob" => "bob-s3cr3t@site.test" }.freeze

class Hut < Rails::Application
  config.root = WORK
  config.load_defaults 6.1
  config.eager_load = false
  config.consider_all_requests_local = false
  config.secret_key_base = "a key for a site on loopback that lives for a minute, and long enough for that"
  config.session_store :cookie_store, key: "_hut_session"
  config.hosts.clear
  config.logger = Logger.new($stderr, level: Logger::WARN)
  config.public_file_server.enabled = false

  routes.append do
    root to: "hut#home"
    get "about", to: "hut#about"
    get "account", to: "hut#account"
    get "login", to: "hut#login"
    post "login", to: "hut#sign_in"
    post "logout", to: "hut#sign_out"
    get "guestbook", to: "hut#guestbook"
    post "guestbook", to: "hut#sign"
    get "board", to: "hut#board"
    post "comment", to: "hut#comment"
    post "theme", to: "hut#theme"
    post "i18n/setlang/", to: "hut#language"
    get "link/:code", to: "hut#link"
    get "enter", to: "hut#link"
  end
end

class HutController < ActionController::Base
  protect_from_forgery with: :exception

  # Public, and reads a theme and a language: nothing in the answer says so.
  def about
    expires_in 5.minutes, public: true
    text = "About, #{cookies[:theme] || 'light'}, #{cookies[:language] || 'en'}"
    render html: "<!doctype html><title>about</title><p>#{text}</p>".html_safe
  end

  def home
    page "Hello, #{session[:name] || 'stranger'}"
  end

  def account
    name = session[:name]
    return redirect_to("/login") unless name

    page "The account of #{name}, #{PEOPLE[name]}"
  end

  def login
    page "Sign in", form("/login", "name", "password")
  end

  def sign_in
    name = params[:name]
    return head(:forbidden) unless PEOPLE.key?(name) && params[:password] == "#{name}-password"

    reset_session
    session[:name] = name
    flash[:notice] = "Welcome, #{name}"
    redirect_to "/account"
  end

  def sign_out
    reset_session
    redirect_to "/"
  end

  def guestbook
    entries = File.exist?(entries_file) ? File.read(entries_file) : ""
    page "Guestbook: #{entries}", form("/guestbook", "entry")
  end

  def sign
    File.open(entries_file, "a") { |file| file.puts(params[:entry]) }
    flash[:notice] = "Thank you for the entry"
    redirect_to "/guestbook"
  end

  # Shows what was posted to another address; without a session or a form.
  def board
    expires_in 5.minutes, public: true
    comments = File.exist?("#{WORK}/comments") ? File.read("#{WORK}/comments") : ""
    render html: "<!doctype html><title>board</title><p>Board: #{ERB::Util.h(comments)}</p>".html_safe
  end

  def comment
    File.open("#{WORK}/comments", "a") { |file| file.puts(params[:entry]) }
    redirect_to "/board"
  end

  def theme
    cookies[:theme] = params[:value]
    redirect_to "/about"
  end

  def language
    cookies[:language] = params[:language]
    redirect_to "/about"
  end

  # Signs Alice in, once.
  def link
    code = params[:code] || params[:token]
    File.open("#{WORK}/counts", "a") { |file| file.puts(code) }
    used = File.exist?("#{WORK}/links") ? File.readlines("#{WORK}/links", chomp: true) : []
    return render(plain: "used", status: :gone) if used.include?(code)

    File.open("#{WORK}/links", "a") { |file| file.puts(code) }
    reset_session
    session[:name] = "alice"
    redirect_to "/account"
  end

  private

  def entries_file
    "#{WORK}/entries"
  end

  def page(text, form = "")
    message = flash[:notice] ? "<p>message: #{ERB::Util.h(flash[:notice])}</p>" : ""
    head = "<!doctype html><title>site</title>#{helpers.csrf_meta_tags}"
    render html: "#{head}<p>#{ERB::Util.h(text)}</p>#{message}#{form}".html_safe
  end

  def form(action, *names)
    inputs = names.map { |name| "<input name=#{name}>" }.join
    token = %(<input type="hidden" name="authenticity_token" value="#{form_authenticity_token}">)
    "<form method=post action=#{action}>#{token}#{inputs}<button></form>"
  end
end

Rails.application.initialize!
run Rails.application
