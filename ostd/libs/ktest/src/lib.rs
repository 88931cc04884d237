//! `#[ktest]`: unit tests that run inside the booted kernel.
//!
//! The macro keeps the function and, when the crate is built with its feature `ktest`, registers it with
//! `ostd::ktest`: a static in a link section holds the module's path, the function's name and the function. Without the
//! feature nothing remains of it. The static needs a link section attribute, which counts as unsafe code; the expansion
//! allows it for that one item, so that the macro works in a crate that denies unsafe code.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// Marks `fn name() { .. }` as an in-kernel test. It fails when it panics.
#[proc_macro_attribute]
pub fn ktest(args: TokenStream, item: TokenStream) -> TokenStream {
    if !args.is_empty() {
        return error("#[ktest] takes no arguments");
    }
    match function_name(item.clone()) {
        Ok(name) => {
            let registration = format!(
                r#"
                #[cfg(feature = "ktest")]
                const _: () = {{
                    #[used]
                    #[allow(unsafe_code)]
                    #[unsafe(link_section = ".ktest_array")]
                    static ITEM: ::ostd::ktest::KtestItem = ::ostd::ktest::KtestItem {{
                        module: ::core::module_path!(),
                        name: {name:?},
                        function: {name},
                    }};
                }};
                #[cfg(feature = "ktest")]
                "#
            );
            let mut output: TokenStream = registration.parse().expect("the expansion is valid Rust");
            output.extend(item);
            output
        }
        Err(message) => error(message),
    }
}

/// Finds the name in `attributes visibility fn name() { .. }`.
fn function_name(item: TokenStream) -> Result<String, &'static str> {
    let mut tokens = item.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word.to_string() == "fn" => {
                let Some(TokenTree::Ident(name)) = tokens.next() else {
                    return Err("#[ktest] expects a function name after `fn`");
                };
                let Some(TokenTree::Group(args)) = tokens.next() else {
                    return Err("a #[ktest] function has no type parameters");
                };
                if args.delimiter() != Delimiter::Parenthesis || !args.stream().is_empty() {
                    return Err("a #[ktest] function takes no arguments");
                }
                return Ok(name.to_string());
            }
            TokenTree::Ident(word) if matches!(word.to_string().as_str(), "async" | "unsafe" | "extern") => {
                return Err("a #[ktest] function is a plain `fn`");
            }
            _ => {}
        }
    }
    Err("#[ktest] is for functions")
}

fn error(message: &str) -> TokenStream {
    format!("::core::compile_error!({message:?});").parse().expect("valid Rust")
}
