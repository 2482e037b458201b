//! The one procedural macro of Tidegate: `#[derive(States)]` on a struct of state handles.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Path, Type, parse_macro_input, parse_quote,
};

/// Implements `States`: the states are named after the fields, which are handles such as `ValueState<T>`.
///
/// `#[states(crate = "path")]` names the crate that holds `state` and `key` where the facade isn't used.
#[proc_macro_derive(States, attributes(states))]
pub fn derive_states(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    implement(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn implement(input: &DeriveInput) -> Result<Tokens, Error> {
    let runtime = runtime_path(input)?;
    let fields = handles(input)?;
    let names: Vec<&Ident> = fields.iter().map(|(name, _)| *name).collect();
    let opens = fields.iter().map(|(name, handle)| {
        let text = unraw(name);
        quote_spanned! {handle.span()=>
            #name: <#handle as #runtime::state::StateHandle>::open(registry, #text)?
        }
    });
    let (ident, (generics, arguments, bounds)) = (&input.ident, input.generics.split_for_impl());
    Ok(quote! {
        #[automatically_derived]
        impl #generics #runtime::state::States for #ident #arguments #bounds {
            fn open(registry: &mut #runtime::state::StateRegistry) -> #runtime::Result<Self> {
                ::core::result::Result::Ok(Self { #(#opens),* })
            }

            #[inline]
            fn set_key(&mut self, hash: #runtime::key::KeyHash, key: &[u8]) {
                let _ = (hash, key);
                #(#runtime::state::StateHandle::set_key(&mut self.#names, hash, key);)*
            }

            fn visit_tables(&mut self, visit: &mut dyn FnMut(&mut dyn #runtime::state::StateTable)) {
                let _ = &visit;
                #(visit(#runtime::state::StateHandle::table(&mut self.#names));)*
            }
        }
    })
}

/// The fields' names and types.
fn handles(input: &DeriveInput) -> Result<Vec<(&Ident, &Type)>, Error> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new(
            input.ident.span(),
            "`States` can be derived for a struct of state handles only",
        ));
    };
    match &data.fields {
        Fields::Named(named) => named.named.iter().map(handle).collect(),
        Fields::Unit => Ok(Vec::new()),
        Fields::Unnamed(fields) => Err(Error::new(
            fields.span(),
            "states are named after their fields, and the name is the identity of the state: \
             give the fields names, as in `struct MyState { account: ValueState<Account> }`",
        )),
    }
}

fn handle(field: &Field) -> Result<(&Ident, &Type), Error> {
    let name = field.ident.as_ref().ok_or_else(|| Error::new(field.span(), "a state needs a name"))?;
    Ok((name, &field.ty))
}

fn unraw(name: &Ident) -> String {
    let text = name.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

/// The path to the crate that holds the state module.
fn runtime_path(input: &DeriveInput) -> Result<Path, Error> {
    let mut path: Path = parse_quote!(::tidegate::__private::runtime);
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("states")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("unknown attribute: only `#[states(crate = \"path\")]` is known"));
            }
            path = meta.value()?.parse::<LitStr>()?.parse()?;
            Ok(())
        })?;
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(input: &DeriveInput) -> String {
        implement(input).expect_err("it can't be derived").to_string()
    }

    #[test]
    fn states_without_names_are_refused_with_the_reason() {
        let problem = problem(&parse_quote!(
            struct Unnamed(ValueState<u8>);
        ));
        assert!(problem.contains("give the fields names"), "{problem}");
    }

    #[test]
    fn an_enum_is_refused() {
        let problem = problem(&parse_quote!(
            enum Choice {
                A,
            }
        ));
        assert!(problem.contains("struct of state handles"), "{problem}");
    }

    #[test]
    fn an_unknown_attribute_is_refused() {
        let problem = problem(&parse_quote!(
            #[states(ttl = "1h")]
            struct Timed {
                a: ValueState<u8>,
            }
        ));
        assert!(problem.contains("unknown attribute"), "{problem}");
    }

    #[test]
    fn a_raw_field_name_names_its_state_without_the_mark() -> Result<(), Error> {
        let code = implement(&parse_quote!(
            struct Raw {
                r#type: ValueState<u8>,
            }
        ))?
        .to_string();
        assert!(code.contains("\"type\"") && code.contains(":: tidegate :: __private :: runtime"), "{code}");
        Ok(())
    }
}
